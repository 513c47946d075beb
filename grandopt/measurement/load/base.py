"""The contract of everything that load can be put on."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.load.arrivals import constant, poisson
from grandopt.measurement.load.result import LoadResult
from grandopt.measurement.load.settings import LoadSettings
from grandopt.measurement.ring import MIN_RING
from grandopt.signature import Array

Law = Literal["poisson", "constant"]


class Load(ABC):
    """A target, and the observations that it is asked about, in turns.

    Belongs to one event loop; one run at a time. `target(observation, priority, deadline_ns)` is called with
    one of `observations`, of which there are 256 at least, the priority, and the moment of `clock` at which
    the answer is worthless (0: never). When a run has ended, is cancelled or raises, no task of it is left.

    Raises MeasurementError for fewer observations.
    """

    def __init__(
        self,
        target: Callable[[Any, int, int], Any],
        observations: Sequence[Any],
        settings: LoadSettings | None = None,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        if len(observations) < MIN_RING:
            raise MeasurementError(
                f"load needs at least {MIN_RING} different observations, got {len(observations)}: with fewer "
                f"they stay in the processor's caches"
            )
        self.target = target
        self.observations = list(observations)
        self.settings = settings or LoadSettings()
        self.clock = clock
        self._rng = np.random.default_rng(self.settings.seed)

    async def at(self, rate: float, law: Law = "poisson") -> LoadResult:
        """An open loop at `rate` requests a second: requests are made when they are due, answered or not.

        Every run draws other arrivals; the same seed and the same sequence of runs give the same. Raises
        MeasurementError for a rate that is not positive.
        """
        seconds = self.settings.warmup_s + self.settings.seconds
        due = poisson(rate, seconds, self._rng) if law == "poisson" else constant(rate, seconds)
        return await self._open(due, round(seconds * 1e9), rate)

    async def replay(self, due_ns: Array) -> LoadResult:
        """An open loop with the arrivals of `arrivals.replayed`, all of them.

        Raises MeasurementError where they end within the warm-up.
        """
        end = int(due_ns[-1]) + 1
        if end <= self.settings.warmup_ns:
            raise MeasurementError(
                f"the arrivals end after {end / 1e9:g} s, within the warm-up of {self.settings.warmup_s:g} s"
            )
        return await self._open(due_ns, end, None)

    @abstractmethod
    async def closed(self, callers: int) -> LoadResult:
        """A closed loop: so many callers, each of which asks again once it has its answer.

        One that is refused asks again when it was told to. Raises MeasurementError for fewer than one.
        """

    @abstractmethod
    async def _open(self, due_ns: Array, end_ns: int, rate: float | None) -> LoadResult:
        """Make the requests when they are due; the window ends at `end_ns`."""

    def _priorities(self, count: int) -> Array:
        """The priority of each of `count` requests, drawn by the shares."""
        kinds = np.array(list(self.settings.priorities), dtype=np.uint8)
        shares = np.array(list(self.settings.priorities.values()), dtype=np.float64)
        if len(kinds) == 1:
            return np.repeat(kinds, count)
        return np.asarray(self._rng.choice(kinds, size=count, p=shares / math.fsum(shares)))

    def _told_ns(self) -> int:
        """The deadline that the target is told, from when a request is due; 0 for none."""
        return (self.settings.deadline_ns or 0) if self.settings.tell_deadline else 0


def rows(ring: Sequence[Array]) -> list[tuple[Array, ...]]:
    """The observations of a ring of arrays [rows, *shape], one tuple of contiguous arrays [*shape] each."""
    arrays = [np.ascontiguousarray(array) for array in ring]
    return [tuple(array[place, ...] for array in arrays) for place in range(arrays[0].shape[0])]
