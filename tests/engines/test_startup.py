"""A fresh process with an artifact, from its start to its first result, beside one that runs the original."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.config.engines import NativeOptions, OnnxRuntimeOptions, OpenVinoOptions
from tests.engines.conftest import agent, need

ROOT = Path(__file__).resolve().parents[2]

# Says when it has the first result, and stays until its memory was looked at.
FIRST_RESULT = """
import sys
import grandopt
policy = grandopt.load(sys.argv[1], trust=True)
import numpy as np
policy(*[np.zeros(spec.shape, spec.dtype) for spec in policy.signature.inputs])
sys.stdout.write("!")
sys.stdout.flush()
sys.stdin.read()
"""

AGENTS = (
    pytest.param("lvn_embedder", marks=pytest.mark.slow),
    pytest.param("decision_gate", marks=pytest.mark.slow),
    pytest.param("structure_embedder", marks=pytest.mark.slow),
    pytest.param("tactical_embedder", marks=pytest.mark.stress),  # minutes to build with every engine
)

# What the process may hold beside the one of the original.
MEMORY = (
    (NativeOptions(), 0.25),
    (OnnxRuntimeOptions(), 0.4),
    (OpenVinoOptions(), 0.4),
    (OpenVinoOptions(snippets=False), 0.4),
)
TIME = 0.4


def _first_result(artifact: Artifact) -> tuple[float, float]:
    """Seconds from the start of a process to its first result, and what it then holds in MB."""
    start = time.perf_counter()
    command = [sys.executable, "-c", FIRST_RESULT, str(artifact.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(1) == b"!"
        seconds = time.perf_counter() - start
        held = psutil.Process(process.pid).memory_info().rss / 1e6
        process.stdin.close()
    return seconds, held


@pytest.mark.parametrize("name", AGENTS)
def test_time_and_memory_are_a_fraction_of_the_originals(store: Store, name: str) -> None:
    """Both ratios are of figures taken in one run, turn by turn, and of the least of each."""
    for options, _ in MEMORY:
        need(options.engine)
    built = [build(agent(name), Candidate("float32", options), store) for options, _ in MEMORY]
    subjects = [original(agent(name), store), *built]
    turns = [[_first_result(artifact) for artifact in subjects] for _ in range(2)]
    eager, *mine = (
        [min(turn[place][figure] for turn in turns) for figure in (0, 1)] for place in range(len(subjects))
    )
    for (options, memory), found in zip(MEMORY, mine, strict=True):
        for unit, share, here, there in zip(("s", "MB"), (TIME, memory), found, eager, strict=True):
            assert here < share * there, f"{options!r}: {here:.3g} {unit} beside {there:.3g} {unit}"
