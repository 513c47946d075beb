"""The tuner on a real batcher of a real event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from grandopt.runtime.adaptation.controller_settings import ControllerSettings
from grandopt.runtime.adaptation.knobs import Knob
from grandopt.runtime.adaptation.trial import Verdict
from grandopt.runtime.adaptation.tuner import AdaptiveTuner, batcher_knobs
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),))
QUICK = ControllerSettings(window_s=0.02, watch_s=0.02, idle_s=0.05, floor_s=0.05)


def slow(inputs: Sequence[Array]) -> tuple[Array, ...]:
    """A batch takes 3 ms, whatever its size."""
    time.sleep(0.003)
    return (inputs[0] * 2,)


def batcher_of(limit: int, workers: int = 1) -> Batcher:
    executor = FakeExecutor(SIGNATURE, slow)
    return Batcher(
        executor,
        ThreadWorkers(executor, workers),
        BatchSettings(limit=limit),
        BatchCost(1.0, 3e6, 3e6),
    )


async def calling(batcher: Batcher, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await batcher.infer((np.ones(2, np.float32),))


def test_the_limit_of_a_busy_batcher_is_raised_and_its_answers_stay_right() -> None:
    async def serve() -> None:
        batcher, stop = batcher_of(limit=2), asyncio.Event()
        tuner = AdaptiveTuner(QUICK)
        tuner.add("gate", batcher)
        callers = [asyncio.create_task(calling(batcher, stop)) for _ in range(32)]
        while batcher.settings.limit < 4 or not tuner.stats().made:
            await asyncio.sleep(0.02)
        (answer,) = await batcher.infer((np.full(2, 3, np.float32),))
        assert answer.tolist() == [6, 6]
        stats = tuner.stats()
        assert stats.decisions[0].knob == "batch limit"
        assert stats.decisions[0].verdict is Verdict.KEPT
        assert stats.tried_s > 0
        tuner.close()
        limit = batcher.settings.limit
        stop.set()
        await asyncio.gather(*callers)
        await asyncio.sleep(0.1)
        assert batcher.settings.limit == limit
        await batcher.close()

    asyncio.run(asyncio.wait_for(serve(), 60))


def test_a_service_that_is_removed_is_left_alone_and_an_idle_one_is_not_touched() -> None:
    async def serve() -> None:
        batcher = batcher_of(limit=2)
        reads = []
        tuner = AdaptiveTuner(QUICK)
        tuner.add("gate", batcher)
        tuner.add("gate", batcher)  # again: in the place of the first
        whole = batcher.stats
        batcher.stats = lambda: reads.append(1) or whole()  # type: ignore[func-returns-value, method-assign]
        await asyncio.sleep(0.2)
        assert reads
        tuner.remove("gate")
        tuner.remove("gate")
        count = len(reads)
        await asyncio.sleep(0.1)
        assert len(reads) == count
        assert tuner.stats().made == 0
        await batcher.close()

    asyncio.run(serve())


def test_knobs_of_a_batcher_move_it() -> None:
    async def serve() -> None:
        batcher = batcher_of(limit=8, workers=1)
        limit, workers = batcher_knobs(batcher, 4)
        assert [knob.name for knob in (limit, workers)] == ["batch limit", "concurrency"]
        limit.set(16)
        assert batcher.settings.limit == limit.get() == 16
        workers.set(3)
        assert batcher.workers.size == workers.get() == 3
        names: list[Knob] = batcher_knobs(batcher, 1)
        assert [knob.name for knob in names] == ["batch limit"]
        await batcher.close()

    asyncio.run(serve())
