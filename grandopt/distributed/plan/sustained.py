"""What requests take where more always wait: the replica is never idle, and goes on for as long as is
measured.

Bursts after idle moments would show other costs: caches are cold then, nothing is collected, and the machine
goes at its best. Sizes take turns, so that slow seconds of the machine are in the figures of each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grandopt.distributed.plan.pace import Pace
from grandopt.distributed.plan.replica import Turn
from grandopt.errors import MeasurementError
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.result import LoadResult
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.signature import Array

SIZES = (1, 4, 16, 64, 256)
BLOCK_S = 0.02
"""Of one size at a time, at least."""
TURNS = 8
"""Of a block, at least, beside those that are left out."""
SETTLING = 2
"""Turns of a block that are left out: the first make the callers' tasks, and find the caches cold."""
LONGEST_NS = 100e6
"""Turns of larger sizes, by what smaller ones took, are left out."""
ABOVE = 1.3
"""How many times as many requests as workers answer are made, so that some always wait."""
HANDLING_NS = 8_000.0
"""What a request is taken to cost the event loop beside its computing, until that is measured."""
LONE_GAP = 2.0
"""Requests that find the replica idle come so many times as far apart as one takes: not so far that the
processor falls asleep."""
LONES = 8


class Sustained:
    """Measures one agent of an engine in rounds; figures are of all rounds until now.

    `load` is on the agent, without warm-up. `batcher` is None for an agent without one. Requests are made as
    the load generator makes them, in the same event loop, as in a program that uses the engine. Raises
    MeasurementError where not all is answered.
    """

    def __init__(self, load: ConcurrentLoad, batcher: Batcher | None, cost: BatchCost) -> None:
        self._load = load
        self._batcher = batcher
        self._cost = cost
        self._limit = 1 if batcher is None else batcher.settings.limit
        self._workers = 1 if batcher is None else batcher.workers.size
        self._inline = batcher is None or batcher.workers.kind == "inline"
        self._known: dict[int, float] = {}
        self._blocks: list[tuple[int, Array]] = []
        self._answers: dict[int, list[tuple[float, float]]] = {}
        self._lone: list[float] = []

    async def round(self) -> None:
        """Measure every size once."""
        for size in self._sizes():
            await (self._turns(size) if self._inline else self._batches(size))
        await self._alone()

    @property
    def lone_ns(self) -> float:
        """From due to answered of requests that find the replica idle: the median."""
        return float(np.median(self._lone))

    def turns(self) -> tuple[Turn, ...]:
        """What each size takes, at the median."""
        found = []
        for size, occupied in self._typical().items():
            first, last = np.median(self._answers[size], axis=0) if self._inline else (occupied, occupied)
            found.append(Turn(size, occupied, float(first), float(last)))
        return tuple(found)

    def pace(self) -> Pace:
        """How fast it went, from the first turn to the last."""
        typical = self._typical()
        took = [block for _, block in self._blocks]
        work = [np.full(block.size, typical[size]) for size, block in self._blocks]
        return Pace(np.concatenate(took), np.concatenate(work))

    def _typical(self) -> dict[int, float]:
        sizes = sorted({size for size, _ in self._blocks})
        return {
            size: float(np.median(np.concatenate([took for each, took in self._blocks if each == size])))
            for size in sizes
        }

    def _sizes(self) -> list[int]:
        """Those that a turn or a batch can have, and that do not take too long."""
        sizes: tuple[int, ...] = SIZES
        if not self._at_once():
            sizes = (*(size for size in SIZES if size < self._limit), self._limit)
        return [size for size in sizes if size == 1 or self._guess(size) <= LONGEST_NS]

    def _at_once(self) -> bool:
        """Whether requests are answered where they are made, so that no limit of batches holds."""
        if self._batcher is None:
            return True
        released = self._batcher.stats().released
        return 2 * released.get("direct", 0) > sum(released.values())

    def _guess(self, size: int) -> float:
        """What so many requests are likely to take; of workers nothing beyond their computing, until it is
        known."""
        handling = HANDLING_NS * size if self._inline else 0.0
        return self._known.get(size) or max(1.0, self._cost.of(size) + handling)

    def _count(self, size: int) -> int:
        """Turns of a block."""
        return SETTLING + max(TURNS, int(BLOCK_S * 1e9 / self._guess(size)))

    async def _turns(self, size: int) -> None:
        """The event loop's own thread: all requests are due, and `size` of them are made in each turn."""
        load, count = self._load, self._count(size)
        usual, load.burst = load.burst, size
        try:
            result = _answered(await load.replay(np.zeros((count + 1) * size, dtype=np.int64)))
        finally:
            load.burst = usual
        began = result.started_ns.reshape(-1, size)[SETTLING:, 0]
        ended = result.ended_ns.reshape(-1, size)[SETTLING:]
        took = np.diff(began).astype(np.float64)
        first, last = ended.min(axis=1) - began, ended.max(axis=1) - began
        self._answers.setdefault(size, []).append((float(np.median(first)), float(np.median(last))))
        self._took(size, took)

    async def _batches(self, size: int) -> None:
        """Workers: more requests come than are answered, in batches of `size`."""
        batcher, load = self._batcher, self._load
        assert batcher is not None
        usual, workers = batcher.settings, self._workers
        each_ns = self._guess(size) / (size * workers * ABOVE)
        count = min(self._count(size) * size * workers, int(usual.queue_rows / ABOVE))
        due = (np.arange(round(count * ABOVE)) * each_ns).astype(np.int64)
        batcher.settings = replace(usual, limit=size)
        try:
            result = _answered(await load.replay(due))
        finally:
            batcher.settings = usual
        ended = np.sort(result.ended_ns)
        # From the end of each worker's batch to that of its next one; the last find nothing waiting.
        ends = ended[: ended.size - ended.size % size].reshape(-1, size)[SETTLING * workers : -workers, -1]
        self._took(size, np.diff(ends[::workers]).astype(np.float64))

    async def _alone(self) -> None:
        gap = LONE_GAP * self._known[1]
        due = (np.arange(LONES) * gap).astype(np.int64)
        result = _answered(await self._load.replay(due))
        self._lone += result.latency_ns().tolist()

    def _took(self, size: int, took: Array) -> None:
        took = np.maximum(took, 1.0)
        self._blocks.append((size, took))
        self._known[size] = float(np.median(took))


def _answered(result: LoadResult) -> LoadResult:
    """The same, all of whose requests have their answers; raises MeasurementError where one has none."""
    if (result.ended_ns < 0).any() or result.errors:
        raise MeasurementError(
            f"of {result.due_ns.size} requests not all were answered ({result.first_error or 'too slow'})"
        )
    return result
