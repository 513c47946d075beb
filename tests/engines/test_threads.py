"""Eight threads, ten thousand calls each, several agents in one process: every answer is the right one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.runtime.loader import load
from tests.engines.conftest import agent, need
from tests.small_agents import draw, expected

THREADS, CALLS, FEWER = 8, 10_000, 1_000
TOLERANCE = 1e-5
"""Outputs are around 1. Another thread's answer is further away."""

AGENTS = ("lvn_embedder", "strategic_system")

ENGINES: tuple[EngineOptions, ...] = (
    EagerOptions(),
    TorchScriptOptions(),
    NativeOptions(),
    InductorOptions(gemm="library"),
    OnnxRuntimeOptions(),
    OpenVinoOptions(),
)


@pytest.mark.parametrize(
    "calls", [pytest.param(FEWER, marks=pytest.mark.slow), pytest.param(CALLS, marks=pytest.mark.stress)]
)
@pytest.mark.parametrize("options", [pytest.param(options, id=options.engine) for options in ENGINES])
def test_eight_threads(store: Store, options: EngineOptions, calls: int) -> None:
    need(options.engine)
    programs = [agent(name) for name in AGENTS]
    executors = [load(build(of, Candidate("float32", options), store).path) for of in programs]
    wrong: list[str] = []

    def call(number: int) -> None:
        of, executor = programs[number % 2], executors[number % 2]
        cases = [draw(of, 1 + (number + seed) % 2, seed=100 * number + seed) for seed in range(10)]
        answers = [expected(of, inputs) for inputs in cases]
        try:
            for turn in range(calls):
                got = executor.run(cases[turn % 10])
                for mine, theirs in zip(got, answers[turn % 10], strict=True):
                    if mine.shape != theirs.shape or not np.abs(mine - theirs).max() < TOLERANCE:
                        raise AssertionError(f"call {turn}: {mine} instead of {theirs}")
        except BaseException as error:
            wrong.append(f"thread {number}: {error}")
            raise

    threads = [threading.Thread(target=call, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
