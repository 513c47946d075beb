"""Which feature levels an artifact is built for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.memory import from_module
from grandopt.config.schema import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.runtime.loader import load


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
