"""Calls that are computed on their caller's own thread, timed."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grandopt.errors import AgentFailed, DeadlineExceeded, GrandoptError, named_line
from grandopt.runtime.histogram import FOLDED, LatencyCounts, LatencyHistogram


@dataclass(frozen=True)
class DirectStats:
    """How long the calls took that were answered, how many failed, and how many came after their deadline."""

    latency: LatencyCounts
    failed: int
    missed: int

    @property
    def answered(self) -> int:
        """How many calls were answered."""
        return self.latency.total

    def __add__(self, other: DirectStats) -> DirectStats:
        return DirectStats(
            self.latency + other.latency, self.failed + other.failed, self.missed + other.missed
        )


class DirectCalls:
    """Times functions that are called on their callers' threads.

    Thread safety: any thread may call any method.
    """

    def __init__(self, name: str, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._name = name
        self._clock = clock
        self._counted = LatencyHistogram()
        self._turn = threading.Lock()
        # Appending is one step, adding to a number or to a histogram is not.
        self._times: array[int] = array("q")
        self._failed: list[None] = []
        self._missed: list[None] = []
        self._others: list[Callable[[], DirectStats]] = []
        self._gone = DirectStats(LatencyCounts(), 0, 0)

    def join(self, source: Callable[[], DirectStats]) -> None:
        """Count what `source` has counted, too: calls that something other than Python makes."""
        with self._turn:
            self._others.append(source)

    def leave(self, source: Callable[[], DirectStats]) -> None:
        """Keep what `source` has counted until now, and ask it no more."""
        with self._turn:
            self._others.remove(source)
            self._gone += source()

    def beside(self) -> DirectStats:
        """What was counted by others alone."""
        with self._turn:
            return sum((source() for source in self._others), self._gone)

    def timed(self, function: Callable[..., Any], holder: object) -> Callable[..., Any]:
        """`function`, counted; `holder` lives as long as any call of it.

        It raises AgentFailed for what a model raises, and grandopt's own errors as they are.
        """
        clock, times, count, failed = self._clock, self._times, self._count, self._failed
        name = self._name

        def call(*arguments: Any) -> Any:
            _kept = holder
            begun = clock()
            try:
                result = function(*arguments)
            except (GrandoptError, KeyboardInterrupt):
                failed.append(None)
                raise
            except BaseException as error:  # a user's model may raise anything, a CancelledError as well
                failed.append(None)
                raise AgentFailed(f"{name}: the agent raised {named_line(error)}") from error
            times.append(clock() - begun)
            if len(times) >= FOLDED:
                count()
            return result

        return call

    def check(self, deadline_ns: int, when: str = "before") -> None:
        """Raise DeadlineExceeded where the deadline has passed, `when` ("before", "during") it does."""
        if deadline_ns and self._clock() >= deadline_ns:
            self._missed.append(None)
            raise DeadlineExceeded(f"{self._name}: the deadline passed {when} the call")

    @property
    def ended(self) -> int:
        """How many calls came to an end on callers' threads of Python."""
        return self._counted.total + len(self._times) + len(self._failed) + len(self._missed)

    def stats(self) -> DirectStats:
        """All since the beginning."""
        self._count()
        with self._turn:
            own = DirectStats(self._counted.snapshot(), len(self._failed), len(self._missed))
        return own + self.beside()

    def _count(self) -> None:
        with self._turn:
            taken = len(self._times)
            self._counted.record_many(self._times[:taken])
            del self._times[:taken]  # others may have appended behind them
