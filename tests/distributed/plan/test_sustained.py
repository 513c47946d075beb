"""What a replica's work takes, and the pace of it, measured where both are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from grandopt.distributed.plan.replica import Turn
from grandopt.distributed.plan.sustained import Sustained
from grandopt.errors import MeasurementError
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.settings import LoadSettings
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.base import Done, Workers
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.measurement.load.virtual import ROUND_S, loop, virtually

OBSERVATIONS = [(np.full(2, place, np.float32),) for place in range(256)]
SETTINGS = LoadSettings(warmup_s=0.0, grace_s=5.0)
SIGNATURE = Signature((TensorSpec("seen", (2,)),), (TensorSpec("said", (2,)),))
EACH_S, FIXED_S = 40e-6, 200e-6
ROUNDS = 4


def usual(now: float) -> float:
    return 1.0


def half_of_the_time_slow(now: float) -> float:
    """Three quarters of each tenth of a second as usual, then at half the speed."""
    return 1.0 if now % 0.1 < 0.075 else 2.0


class TimedWorkers(Workers):
    """Compute batches of n in a·n + b, times as long as `slower` says, without a thread."""

    kind = "threads"

    def __init__(self, executor: Executor, size: int, slower: Callable[[float], float]) -> None:
        self._executor = executor
        self._size = self._free = size
        self._slower = slower

    @property
    def size(self) -> int:
        return self._size

    @property
    def idle(self) -> int:
        return self._free

    def rows(self, count: int) -> list[Array]:
        return [np.empty((count, *spec.shape), spec.dtype) for spec in self._executor.signature.inputs]

    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        self._free -= 1
        seconds = (EACH_S * len(inputs[0]) + FIXED_S) * self._slower(loop().now)

        def end() -> None:
            self._free += 1
            done(tuple(self._executor.run(list(inputs))))

        loop().call_later(seconds, end)

    def replace(self, executor: Executor) -> None:
        raise NotImplementedError

    def resize(self, size: int) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def measured_inline(slower: Callable[[float], float], rounds: int = ROUNDS) -> Sustained:
    async def whole() -> Sustained:
        async def target(observation: Any, priority: int, deadline_ns: int) -> None:
            loop().work(EACH_S * slower(loop().now))

        load = ConcurrentLoad(target, OBSERVATIONS, SETTINGS, clock=loop().clock)
        found = Sustained(load, None, BatchCost(1.0, 0.0, 1.0))
        for _ in range(rounds):
            await found.round()
        return found

    return virtually(whole())


def measured_workers(workers: int, slower: Callable[[float], float], rounds: int = ROUNDS) -> Sustained:
    async def whole() -> Sustained:
        executor = FakeExecutor(SIGNATURE, lambda inputs: (inputs[0].copy(),))
        cost = BatchCost(EACH_S * 1e9, FIXED_S * 1e9, (EACH_S + FIXED_S) * 1e9)
        batcher = Batcher(
            executor,
            TimedWorkers(executor, workers, slower),
            BatchSettings(limit=24),
            cost,
            clock=loop().clock,
        )

        async def target(observation: Any, priority: int, deadline_ns: int) -> Any:
            return await batcher.infer(observation)

        load = ConcurrentLoad(target, OBSERVATIONS, SETTINGS, clock=loop().clock)
        found = Sustained(load, batcher, cost)
        for _ in range(rounds):
            await found.round()
        assert batcher.settings.limit == 24
        await batcher.close()
        return found

    return virtually(whole())


def test_turns_of_the_loop_take_what_their_requests_take() -> None:
    found = measured_inline(usual)
    for turn in found.turns():
        assert turn.occupied_ns == pytest.approx(1e9 * (EACH_S * turn.rows + ROUND_S), rel=0.01)
        assert turn.first_ns == pytest.approx(1e9 * (EACH_S + ROUND_S), rel=0.01)
        assert turn.last_ns == pytest.approx(turn.occupied_ns, rel=0.01)
    assert [turn.rows for turn in found.turns()] == [1, 4, 16, 64, 256]
    assert found.pace().speed == pytest.approx(1.0, abs=0.01)
    assert found.lone_ns == pytest.approx(1e9 * (EACH_S + ROUND_S), rel=0.2)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_of_workers_take_what_they_take_whatever_their_number(workers: int) -> None:
    found = measured_workers(workers, usual)
    assert [turn.rows for turn in found.turns()] == [1, 4, 16, 24]
    for turn in found.turns():
        assert turn == Turn(turn.rows, turn.occupied_ns, turn.occupied_ns, turn.occupied_ns)
        assert turn.occupied_ns == pytest.approx(1e9 * (EACH_S * turn.rows + FIXED_S), rel=0.05)
    assert found.pace().speed == pytest.approx(1.0, abs=0.03)
    assert found.lone_ns == pytest.approx(1e9 * (EACH_S + FIXED_S), rel=0.1)


@pytest.mark.parametrize("workers", [0, 1])
def test_slow_moments_are_in_the_pace_and_not_in_what_is_typical(workers: int) -> None:
    slower = half_of_the_time_slow
    found = measured_workers(workers, slower) if workers else measured_inline(slower)
    fixed = FIXED_S if workers else ROUND_S
    for turn in found.turns():
        assert turn.occupied_ns == pytest.approx(1e9 * (EACH_S * turn.rows + fixed), rel=0.06)
    assert 0.75 < found.pace().speed < 0.97
    ratio = found.pace().took_ns / found.pace().work_ns
    assert np.percentile(ratio, [50, 98]) == pytest.approx([1.0, 2.0], rel=0.07)


def test_what_is_not_answered_ends_it() -> None:
    async def whole() -> None:
        async def target(observation: Any, priority: int, deadline_ns: int) -> None:
            raise ValueError("no agent")

        load = ConcurrentLoad(target, OBSERVATIONS, SETTINGS, clock=loop().clock)
        with pytest.raises(MeasurementError, match=r"not all were answered \(ValueError: no agent\)"):
            await Sustained(load, None, BatchCost(1.0, 0.0, 1.0)).round()

    virtually(whole())
