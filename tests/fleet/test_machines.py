"""The second machine of a kind compiles nothing: every call of a compiler is written down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECORDER = """#!/bin/sh
echo "$@" >> {log}
exec {program} "$@"
"""


def _compilers(folder: Path, log: Path) -> dict[str, str]:
    """A PATH whose C and C++ compilers write down what they are called with."""
    folder.mkdir()
    for name in ("cc", "gcc", "clang", "c++", "g++", "clang++"):
        program = shutil.which(name)
        if program is not None:
            (folder / name).write_text(RECORDER.format(log=log, program=program))
            (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"} | {"CC": "", "CXX": "g++"}


def _compiled(log: Path) -> list[str]:
    """The calls that made something; others asked for a version or a target."""
    calls = log.read_text().splitlines() if log.exists() else []
    return [call for call in calls if " -o" in f" {call}" or " -c" in f" {call}"]


def _optimize(home: Path, shared: Path, environment: dict[str, str]) -> dict[str, object]:
    home.mkdir()
    words = ["optimize", "--agent", "lvn_embedder", "--engine", "native", "--engine", "onnxruntime"]
    command = [sys.executable, "-m", "grandopt", *words, "--store", str(shared), "--json", "-q"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    agent: dict[str, object] = json.loads(done.stdout)["agents"][0]
    return agent


def test_the_second_machine_compiles_nothing(tmp_path: Path) -> None:
    shared, log = tmp_path / "shared", tmp_path / "compilers.log"
    shared.mkdir()
    environment = _compilers(tmp_path / "bin", log)
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    first = _optimize(tmp_path / "first", shared, environment)
    assert _compiled(log)
    log.unlink()
    second = _optimize(tmp_path / "second", shared, environment)
    assert _compiled(log) == []
    assert first["status"] == second["status"] == "optimized"
