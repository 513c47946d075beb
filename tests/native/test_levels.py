"""Which feature levels an artifact is built for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, StoredWeights, levels_for
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.runtime.executors import native
from grandopt.runtime.loader import load
from grandopt.workflows.exporting.c_library import export_c


def names(architecture: str, weights: StoredWeights, present: Collection[str] = ()) -> list[str]:
    return [level.name for level in levels_for(architecture, weights=weights, present=present)]


def test_an_artifact_holds_the_levels_whose_code_is_another_for_its_weights() -> None:
    assert names("x86_64", "float32") == ["x86-64-v4", "x86-64-v3"]
    assert names("x86_64", "bfloat16") == ["x86-64-v4-amx", "x86-64-v4-bf16", "x86-64-v4", "x86-64-v3"]
    int8 = ["x86-64-v4-amx", "x86-64-v4-vnni", "x86-64-v3-avxvnni", "x86-64-v3"]
    assert names("x86_64", "int8") == int8
    assert names("arm64", "float32") == ["armv8-a"]
    assert names("aarch64", "bfloat16") == ["armv8.2-a-bf16", "armv8-a"]
    assert names("aarch64", "int8") == ["armv8.2-a-dotprod", "armv8-a"]


@pytest.mark.parametrize("weights", get_args(StoredWeights))
@pytest.mark.parametrize("own", LEVELS, ids=lambda level: level.name)
def test_a_cpu_gets_the_best_code_that_it_can_run(own: IsaLevel, weights: StoredWeights) -> None:
    """Also one whose best level is seldom and left out elsewhere."""
    gaining = [
        level
        for level in LEVELS
        if level.architecture == own.architecture
        and set(level.features) <= set(own.features)
        and weights in level.gains
    ]
    kept = levels_for(own.architecture, weights=weights, present=own.features)
    assert next(level for level in kept if set(level.features) <= set(own.features)) == gaining[0]


def test_levels_stand_from_the_most_to_the_least_demanding() -> None:
    """A loader takes the first that fits: none before it may ask for less, and each has code of its own."""
    assert len({level.name for level in LEVELS}) == len(LEVELS)
    for position, level in enumerate(LEVELS):
        assert level.gains
        assert set(level.seldom) <= set(level.gains)
        for lower in LEVELS[position + 1 :]:
            assert not set(level.features) <= set(lower.features)


def test_what_levels_need_says_their_order() -> None:
    """A loader goes by the number of features, since a manifest's order means nothing."""
    for machine in {level.architecture for level in LEVELS}:
        counts = [len(level.features) for level in LEVELS if level.architecture == machine]
        assert counts == sorted(set(counts), reverse=True)


@pytest.mark.parametrize("turn", [sorted, lambda names: sorted(names, reverse=True)], ids=["up", "down"])
def test_the_order_in_a_manifest_means_nothing(
    tmp_path: Path, turn: Callable[[Iterable[str]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores write objects with their members in another order, which no digest knows."""
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).eval()
    program = capture(from_module("turned", module, (torch.zeros(2, 64),)), 0)
    path = build(program, Candidate("int8_dynamic", NativeOptions()), Store(tmp_path / "store")).path
    fresh = read(path)
    options = dict(fresh.manifest.options)
    assert len(options["levels"]) > 1
    for name in ("levels", "invokes"):
        options[name] = {level: options[name][level] for level in turn(options[name])}
    turned = write(tmp_path / "turned", replace(fresh.manifest, options=options), fresh.payloads())
    assert turned.manifest.digest == fresh.manifest.digest
    for own in LEVELS:
        if own.name in options["levels"]:
            monkeypatch.setattr(native, "cpu_features", lambda own=own: frozenset(own.features))
            assert native._fitting(turned, lambda: True) == own.name
    export_c(path, tmp_path / "as_built")
    export_c(turned.path, tmp_path / "as_turned")
    for one in (tmp_path / "as_built").rglob("*.bin"):
        assert one.read_bytes() == (tmp_path / "as_turned" / one.name).read_bytes()
    for one in (tmp_path / "as_built").glob("lib*"):
        assert one.read_bytes() == (tmp_path / "as_turned" / one.name).read_bytes()


def test_shorter_vectors_leave_out_the_levels_with_longer_ones() -> None:
    assert [level.name for level in levels_for("x86_64")] == ["x86-64-v4", "x86-64-v3"]
    assert [level.name for level in levels_for("x86_64", vector_bits=256)] == ["x86-64-v3"]


@pytest.mark.parametrize(("machine", "names"), [("aarch64", ()), ("x86_64", ("x86-64-v4",))])
def test_a_length_that_no_level_has_is_refused(machine: str, names: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedError, match="vectors of 256 bits"):
        levels_for(machine, names, vector_bits=256)


@pytest.mark.skipif(
    architecture() != "x86_64" or not cpu_features().issuperset(levels_for("x86_64")[-1].features),
    reason="the level of 256 bits is for x86-64 with AVX2",
)
def test_an_artifact_of_shorter_vectors_gives_the_same_results(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 8)).eval()
    example = torch.randn(3, 5)
    program = capture(from_module("lvn", module, (example,)), 0)
    candidate = Candidate("float32", NativeOptions(vector_bits=256))
    assert candidate.label == "native/float32/256-bit"
    artifact = build(program, candidate, Store(tmp_path))
    assert list(artifact.manifest.options["levels"]) == ["x86-64-v3"]
    (result,) = load(artifact.path).run((example.numpy(),))
    torch.testing.assert_close(torch.from_numpy(result), module(example), atol=1e-6, rtol=1e-5)


def test_the_readme_lists_every_level_in_their_order() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in readme.splitlines() if line.startswith(("| `x86-64-", "| `armv8"))]
    assert rows == [level.name for level in LEVELS]


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_level_whose_tiles_multiply_nothing_is_left_out(weights: StoredWeights) -> None:
    graphs = {}
    for rows in (1, 20):
        network = nn.Sequential(nn.Linear(64, 65), nn.ReLU(), nn.Linear(65, 64)).eval()
        exported = capture(from_module("tiled", network, (torch.zeros(2, rows, 64),)), 0).exported
        assert exported is not None
        graph = simplify(translate("tiled", exported))
        graphs[rows] = quantize(graph) if weights == "int8" else graph
    levels = levels_for("x86_64", weights=weights)
    assert levels[0].tiles
    for rows, graph in graphs.items():
        source = render(graph, levels, 1, "bfloat16" if weights == "bfloat16" else "float32")
        kept = source.without_idle_tiles()
        assert list(kept.texts) == list(kept.invokes) == list(levels[rows == 1 :])
        assert (source.invokes[levels[0]] in kept.entry) == (rows > 1)
        alone = render(graph, levels[:1], 1)
        assert alone.without_idle_tiles().texts == alone.texts


def test_weights_stored_in_several_ways_have_the_levels_of_each() -> None:
    both = [level.name for level in levels_for("x86_64", weights=("bfloat16", "int8"))]
    assert both == [
        "x86-64-v4-amx",
        "x86-64-v4-bf16",
        "x86-64-v4-vnni",
        "x86-64-v3-avxvnni",
        "x86-64-v3",
    ]
    assert levels_for("x86_64", weights={"int8"}) == levels_for("x86_64", weights="int8")
