"""Agents of different names that compute the same: one library in Python, both linked into one C program."""

from __future__ import annotations

import io
import subprocess
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.artifact import Artifact, write
from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.build import compile_libraries, render
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
from grandopt.workflows.exporting.c_library import export_c
from tests.native.conftest import BEST, LEVELS
from tests.small_agents import Policy

LIBRARY = f"agent.{LEVELS[0]}.so"

HOST = """
#include "left.h"
#include "right.h"
#include <stdio.h>
int main(void) {
    static float in[LEFT_IN0_SIZE], left[LEFT_OUT0_SIZE], right[RIGHT_OUT0_SIZE];
    static _Alignas(64) unsigned char scratch[LEFT_SCRATCH_BYTES + RIGHT_SCRATCH_BYTES + 1];
    for (int i = 0; i < LEFT_IN0_SIZE; ++i) in[i] = (float)i / 4;
    if (left_run(in, left, 1, scratch) || right_run(in, right, 1, scratch)) return 1;
    for (int i = 0; i < LEFT_OUT0_SIZE; ++i) printf("%.9g %.9g\\n", left[i], right[i]);
    return 0;
}
"""


def _program(name: str, seed: int = 0) -> Program:
    torch.manual_seed(seed)
    return capture(from_module(name, Policy().eval(), (torch.zeros(2, 8),)), 0)


def _built(program: Program, store: Store) -> Artifact:
    return build(program, Candidate("float32", BEST), store)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact, Artifact]:
    """`left` and `right` with equal weights, and another `right`."""
    store = Store(tmp_path_factory.mktemp("names"))
    return tuple(_built(_program(*one), store) for one in (("left",), ("right",), ("right", 1)))  # type: ignore[return-value]


def test_the_library_for_python_knows_no_name(agents: tuple[Artifact, Artifact, Artifact]) -> None:
    left, right, other = agents
    assert left.payload(LIBRARY) == right.payload(LIBRARY) != other.payload(LIBRARY)
    assert b"left" not in left.payload(LIBRARY)
    assert left.manifest.options["invokes"] == right.manifest.options["invokes"]
    assert left.manifest.options["invokes"] != other.manifest.options["invokes"]


def test_another_compiler_or_level_gives_another_name() -> None:
    exported = _program("left").exported
    assert exported is not None
    graph, levels = simplify(translate("left", exported)), levels_for(architecture())
    sources = [render(graph, levels, 1, compiler=version) for version in ("one 1.0", "one 1.1")]
    names = [name for source in sources for name in source.invokes.values()]
    assert len(set(names)) == 2 * len(levels)
    assert sources[0].weights_name == sources[1].weights_name


@pytest.mark.parametrize("whole", [False, True], ids=["as needed", "whole archives"])
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "different"])
def test_two_agents_in_one_host(
    agents: tuple[Artifact, Artifact, Artifact], tmp_path: Path, *, equal: bool, whole: bool
) -> None:
    left, right = agents[0], agents[1] if equal else agents[2]
    for artifact in (left, right):
        export_c(artifact.path, tmp_path / str(artifact.manifest.options["symbol"]))
    (tmp_path / "host.c").write_text(HOST, encoding="utf-8")
    archives = [f"{name}/lib{name}.a" for name in ("left", "right")]
    if whole:
        archives = ["-Wl,--whole-archive", *archives, "-Wl,--no-whole-archive"]
    compiler = find_compiler()
    compiler.run(["-Ileft", "-Iright", "host.c", *archives, "-o", "static", "-lm"], tmp_path)
    shared = [argument for name in ("left", "right") for argument in (f"-L{name}", f"-Wl,-rpath,{name}")]
    shared += [f"-l:lib{name}.so" for name in ("left", "right")]
    compiler.run(["-Ileft", "-Iright", "host.c", *shared, "-o", "shared"], tmp_path)
    observation = np.arange(8, dtype=np.float32)[None] / 4
    wanted = np.stack([load(artifact.path).run([observation])[0][0] for artifact in (left, right)], axis=1)
    assert np.array_equal(wanted[:, 0], wanted[:, 1]) == equal
    for host in ("static", "shared"):
        done = subprocess.run(
            [tmp_path / host], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True
        )
        np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32).reshape(-1, 2), wanted)


def test_threads_of_both_get_the_answers_of_one(agents: tuple[Artifact, Artifact, Artifact]) -> None:
    left, right, other = (load(artifact.path) for artifact in agents)
    rows = np.random.default_rng(0).normal(size=(64, 1, 8)).astype(np.float32)
    wanted = [left.run([row])[0].tobytes() for row in rows]
    assert [other.run([row])[0].tobytes() for row in rows] != wanted
    wrong: list[int] = []

    def ask(executor: object, start: threading.Barrier) -> None:
        start.wait()
        for turn in range(2000):
            row = turn % len(rows)
            if executor.run([rows[row]])[0].tobytes() != wanted[row]:  # type: ignore[attr-defined]
                wrong.append(row)

    start = threading.Barrier(4)
    threads = [threading.Thread(target=ask, args=(one, start)) for one in (left, right, left, right)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_artifact_of_an_earlier_release_loads_and_exports(
    agents: tuple[Artifact, Artifact, Artifact], tmp_path: Path
) -> None:
    """It names its functions after the agent, and has one shared library for Python and C."""
    artifact = agents[0]
    exported = _program("left").exported
    assert exported is not None
    source = render(simplify(translate("left", exported)), levels_for(architecture(), BEST.levels), 1)
    (level,) = source.invokes
    invoke = source.invokes[level]
    earlier = replace(
        source,
        texts={level: source.texts[level].replace(invoke, "left_invoke")},
        entry=source.entry.replace(invoke, "left_invoke").replace('"hidden"', '"default"'),
    )
    libraries = compile_libraries(earlier, find_compiler())
    files = artifact.payloads() | {LIBRARY: libraries.shared}
    options = dict(artifact.manifest.options)
    del options["invokes"], options["hollow_offsets"]
    options["weights_offset"] = files[LIBRARY].find(source.weights)
    options["static_weights_offsets"] = {level.name: libraries.static.find(source.weights)}
    files["source.zip"] = _earlier_archive(libraries.static, source.weights, level.name, _header(artifact))
    manifest = replace(artifact.manifest, options=options, format_version=1)
    old = write(tmp_path / "old", manifest, files)
    assert b'"digest"' not in (old.path / "manifest.json").read_bytes()
    row = np.ones((1, 8), np.float32)
    assert load(old.path).run([row])[0].tobytes() == load(artifact.path).run([row])[0].tobytes()
    assert f"libleft.{level.name}.so" in export_c(old.path, tmp_path / "c")
    assert (tmp_path / "c" / f"libleft.{level.name}.so").read_bytes() == files[LIBRARY]
    assert (tmp_path / "c" / f"libleft.{level.name}.a").read_bytes() == libraries.static
    # Its library states no sizes; the header for C hosts does.
    for edited in ({"scratch_bytes": 0}, {"scratch_bytes": options["scratch_bytes"] + 64}):
        write(old.path, replace(manifest, options=options | edited), files)
        with pytest.raises(ArtifactError, match="the manifest says 'scratch"):
            load(old.path)
    write(old.path, manifest, {name: files[name] for name in files if name != "source.zip"})
    with pytest.raises(ArtifactError, match="no C header either; build the artifact again"):
        load(old.path)
    write(old.path, replace(manifest, format_version=2), files)
    with pytest.raises(ArtifactError, match="does not state what it reads and writes"):
        load(old.path)


def _header(artifact: Artifact) -> str:
    with zipfile.ZipFile(io.BytesIO(artifact.payload("source.zip"))) as archive:
        return archive.read("left.h").decode()


def _earlier_archive(static: bytes, weights: bytes, level: str, header: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("left.h", header)
        archive.writestr(f"libleft.{level}.a", static.replace(weights, bytes(len(weights)), 1))
    return buffer.getvalue()
