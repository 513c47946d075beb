"""Eight threads, ten thousand calls each, several agents in one process: every answer is the right one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.schema import EngineOptions, InductorOptions, OnnxRuntimeOptions, OpenVinoOptions
from grandopt.runtime.loader import load
from tests.engines.conftest import agent, need
from tests.small_agents import draw, expected

THREADS, CALLS = 8, 10_000
AGENTS = ("decision_gate", "strategic_system")


@pytest.mark.stress
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(OnnxRuntimeOptions(), id="onnxruntime"),
        pytest.param(OpenVinoOptions(), id="openvino"),
        pytest.param(InductorOptions(), id="inductor"),
    ],
)
def test_eight_threads(store: Store, options: EngineOptions) -> None:
    need(options.engine)
    programs = [agent(name) for name in AGENTS]
    executors = [load(build(of, Candidate("float32", options), store).path) for of in programs]
    wrong: list[str] = []

    def call(number: int) -> None:
        of, executor = programs[number % 2], executors[number % 2]
        cases = [draw(of, 1 + (number + seed) % 2, seed=100 * number + seed) for seed in range(10)]
        answers = [expected(of, inputs) for inputs in cases]
        for turn in range(CALLS):
            got = executor.run(cases[turn % 10])
            for mine, theirs in zip(got, answers[turn % 10], strict=True):
                if not np.allclose(mine, theirs, rtol=1e-4, atol=1e-5):
                    wrong.append(f"thread {number}, call {turn}: {mine} instead of {theirs}")
                    return

    threads = [threading.Thread(target=call, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
