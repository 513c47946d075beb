"""Calls that are computed on their caller's own thread, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from grandopt.errors import AgentFailed, DeadlineExceeded, GrandoptError, named_line
from grandopt.runtime.histogram import LatencyCounts, LatencyHistogram
from grandopt.signature import Array


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


class DirectCalls:
    """Calls a function on the calling thread and counts. Thread safety: any thread may call anything."""

    def __init__(self, name: str, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._name = name
        self._clock = clock
        self._times: dict[int, LatencyHistogram] = {}  # one per thread: each has one writer
        self._failed: list[None] = []  # appending is one step, adding to a number is not
        self._missed = 0

    def call(self, function: Callable[..., Any], *observation: Any) -> Any:
        """What `function` gives; raises AgentFailed for what a model raises, and InputErrors as they are."""
        begun = self._clock()
        try:
            result = function(*observation)
        except GrandoptError:
            self._failed.append(None)
            raise
        except Exception as error:  # a user's model may raise anything
            self._failed.append(None)
            raise AgentFailed(f"{self._name}: the agent raised {named_line(error)}") from error
        took = self._clock() - begun
        try:
            self._times[get_ident()].record(took)
        except KeyError:
            self._times.setdefault(get_ident(), LatencyHistogram()).record(took)
        return result

    def batch(
        self, function: Callable[[list[Array]], tuple[Array, ...]], inputs: list[Array], deadline_ns: int
    ) -> tuple[Array, ...]:
        """Compute a batch at once; raises DeadlineExceeded where the deadline has passed before."""
        if deadline_ns and self._clock() >= deadline_ns:
            self._missed += 1
            raise DeadlineExceeded(f"{self._name}: the deadline has passed before the call")
        results: tuple[Array, ...] = self.call(function, inputs)
        return results

    def stats(self) -> DirectStats:
        """All since the beginning."""
        latency = LatencyCounts()
        for histogram in list(self._times.values()):
            latency += histogram.snapshot()
        return DirectStats(latency, len(self._failed), self._missed)
