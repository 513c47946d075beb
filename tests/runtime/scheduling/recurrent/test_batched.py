"""Sessions through a real batcher: every stream's answers are those of its own sequential session."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import EngineOptions, TorchScriptOptions
from grandopt.errors import AgentFailed
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.recurrent.sessions import Session, Sessions
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.base import Workers
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers
from grandopt.signature import Array
from tests.native.conftest import BEST
from tests.recurrent.networks import LstmCellPolicy, LstmPolicy, observations, program
from tests.runtime.scheduling.adding import adding, row

SLOW = BatchCost(per_observation_ns=1_000.0, fixed_ns=100_000.0, single_ns=101_000.0)
"""Of an agent for which callers are worth suspending, so that there are batches."""


def inline(executor: Executor) -> Workers:
    return InlineWorker(executor)


def threads(executor: Executor) -> Workers:
    return ThreadWorkers(executor, 2)


async def interleaved(
    executor: Executor, workers: Callable[[Executor], Workers], given: Array, seed: int
) -> tuple[list[Array], dict[int, int]]:
    """The answers to `given` [streams, steps, …] in turns that are drawn; and the batches by size."""
    chance = random.Random(seed)
    settings = BatchSettings(limit=64, queue_rows=2 * given.shape[0] * given.shape[1])
    batcher = Batcher(executor, workers(executor), settings, SLOW)
    sessions = Sessions(
        batcher.infer, executor.signature, executor.contract, limit=len(given), waiting=given.shape[1]
    )

    async def one(session: Session, steps: Array, at_once: bool) -> Array:
        if at_once:  # concurrent calls of one session
            return np.stack(await asyncio.gather(*(session.infer(step) for step in steps)))
        said = []
        for step in steps:
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
            said.append(await session.infer(step))
        return np.stack(said)

    streams = [sessions.open(number) for number in range(len(given))]
    answers = await asyncio.gather(
        *(one(stream, steps, chance.random() < 0.1) for stream, steps in zip(streams, given, strict=True))
    )
    stats, counted = batcher.stats(), sessions.stats()
    assert (counted.answered, counted.unanswered, counted.busy) == (given.shape[0] * given.shape[1], 0, 0)
    sessions.close()
    await batcher.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return answers, stats.rows


def alone(executor: Executor, steps: Array) -> Array:
    session = executor.session()
    return np.stack([session(step) for step in steps])


@pytest.mark.parametrize("workers", [inline, threads])
def test_rows_of_a_batch_do_not_mix(workers: Callable[[Executor], Workers]) -> None:
    executor = adding()
    given = np.random.default_rng(3).integers(-9, 9, (60, 8, 2)).astype(np.float32)
    answers, batches = asyncio.run(interleaved(executor, workers, given, 5))
    for said, steps in zip(answers, given, strict=True):
        np.testing.assert_array_equal(said, alone(executor, steps))
    assert max(batches) >= 16


def test_a_row_that_makes_its_batch_fail_moves_no_other_stream() -> None:
    async def body() -> None:
        executor = adding()
        batcher = Batcher(executor, InlineWorker(executor), BatchSettings(), SLOW)
        sessions = Sessions(batcher.infer, executor.signature, executor.contract)
        streams = [sessions.open() for _ in range(6)]
        values = [1.0, 2.0, np.inf, 3.0, 4.0, 5.0]
        outcomes = await asyncio.gather(
            *(stream.infer(row(value)) for stream, value in zip(streams, values, strict=True)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [np.ndarray] * 2 + [AgentFailed] + [np.ndarray] * 3
        assert [int(stream.state["count"]) for stream in streams] == [1, 1, 0, 1, 1, 1]
        await batcher.close()

    asyncio.run(body())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "options", "workers", "streams"),
    [
        (LstmPolicy, BEST, inline, 10_000),
        (LstmCellPolicy, BEST, threads, 10_000),
        (LstmCellPolicy, TorchScriptOptions(), threads, 1_000),
    ],
)
def test_ten_thousand_streams_of_a_real_agent(
    network: type,
    options: EngineOptions,
    workers: Callable[[Executor], Workers],
    streams: int,
    tmp_path: Path,
) -> None:
    executor = load(build(program(network), Candidate("float32", options), Store(tmp_path)).path)
    given = np.ascontiguousarray(observations(5, streams).swapaxes(0, 1))
    answers, batches = asyncio.run(interleaved(executor, workers, given, 7))
    expected = np.stack([alone(executor, steps) for steps in given])
    np.testing.assert_allclose(np.stack(answers), expected, rtol=0.0, atol=2e-6)
    assert sum(batches.values()) < streams
