"""Instruction counts: the same each time by valgrind, and what is said to perf."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.errors import ArtifactError
from grandopt.measurement.instructions import CALLS, _emulated, _with_valgrind, count_instructions
from tests.fakes_measurement import LOADER, ring, subject

# Does what perf does with its pipes, and "counts" one instruction for every line that it was told.
PERF = """#!{python}
import os, pathlib, subprocess, sys
words = sys.argv[1:]
if words[-1] == "true":
    sys.stderr.write("Events disabled\\n5,,instructions:u,5,100.00,,\\n")
    sys.exit(0)
assert "--delay=-1" in words
pipes = words[words.index("--control") + 1].removeprefix("fifo:").split(",")
program = subprocess.Popen(words[words.index("--") + 1:])
told = []
with open(pipes[0]) as control, open(pipes[1], "wb", buffering=0) as reply:
    for line in control:
        told.append(line.strip())
        reply.write(b"ack\\n\\0")
program.wait()
assert told == ["enable", "disable"], told
sys.stderr.write("Events enabled\\n2560,,instructions:u,2560,100.00,,\\n")
sys.exit(program.returncode)
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which tools are looked for."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_without_a_tool_there_is_no_count(tools: Path, tmp_path: Path) -> None:
    count = count_instructions(subject(tmp_path, "agent", "instant"), ring(), LOADER)
    assert count.calls is None
    assert count.reason == "neither perf nor valgrind can count here; install valgrind"


def test_perf_is_switched_on_for_the_calls_alone(tools: Path, tmp_path: Path) -> None:
    perf = tools / "perf"
    perf.write_text(PERF.format(python=sys.executable))
    perf.chmod(0o755)
    count = count_instructions(subject(tmp_path, "agent", "instant"), ring(), LOADER)
    assert (count.calls, count.tool, count.reason) == (2560 / CALLS, "perf", None)


def test_a_perf_that_may_not_count_is_not_used(tools: Path, tmp_path: Path) -> None:
    perf = tools / "perf"
    perf.write_text("#!/bin/sh\necho '<not supported>,,instructions:u,0,100.00,,' >&2\n")
    perf.chmod(0o755)
    count = count_instructions(subject(tmp_path, "agent", "instant"), ring(), LOADER)
    assert count.reason == "neither perf nor valgrind can count here; install valgrind"


def test_a_tool_that_fails_is_quoted(tools: Path, tmp_path: Path) -> None:
    valgrind = tools / "valgrind"
    valgrind.write_text("#!/bin/sh\necho 'valgrind: no such emulator' >&2\nexit 3\n")
    valgrind.chmod(0o755)
    count = count_instructions(subject(tmp_path, "agent", "instant"), ring(), LOADER)
    assert count.calls is None
    assert count.reason == "valgrind could not count it (exit code 3): valgrind: no such emulator"


def native(folder: Path, levels: dict[str, list[str]]) -> Path:
    manifest = Manifest(
        name="gate",
        engine="native",
        precision="float32",
        options={"levels": levels},
        signature={"inputs": [{"name": "state", "shape": [7]}], "outputs": []},
        source=Source(format="sb3", path="gate.zip"),
        payload=(),
        machine="x86_64",
        built_by="grandopt 0.1.0",
    )
    return write(folder, manifest, {"agent.so": b"a payload"}).path


def test_levels_that_valgrind_cannot_run_are_left_out(tmp_path: Path) -> None:
    path = native(tmp_path / "both", {"x86-64-v4": ["avx512f"], "x86-64-v3": ["avx2"]})
    copy, note = _emulated(path, tmp_path / "copy")
    assert read(copy).manifest.options["levels"] == {"x86-64-v3": ["avx2"]}
    assert note is not None
    assert "x86-64-v3" in note
    assert _emulated(copy, tmp_path / "unused") == (copy, None)
    alone = native(tmp_path / "alone", {"x86-64-v4": ["avx512f"]})
    with pytest.raises(ArtifactError, match="cannot run what was built for x86-64-v4"):
        _emulated(alone, tmp_path / "other")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="skipped: valgrind is not installed")
def test_valgrind_counts_the_same_each_time(tmp_path: Path) -> None:
    agent = subject(tmp_path, "agent", "loop", count=1000)
    first = _with_valgrind(agent, ring(), LOADER)
    assert first.reason is None
    assert first.calls is not None
    # Each of the thousand additions takes some instructions; those of starting Python are not counted.
    assert 1000 * 5 < first.calls < 1000 * 500
    assert _with_valgrind(agent, ring(), LOADER) == first
