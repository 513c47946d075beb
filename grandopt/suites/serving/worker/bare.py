"""What the machine itself makes of arrivals: the same agent called by bare threads, without an engine.

Where other tenants take a core for milliseconds, or slow it down, requests wait behind that whoever serves
them. Without this beside it, a tail of the engine's would not tell whose it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.load.arrivals import poisson
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array

SLEPT_NS = 150_000
"""A thread that sleeps is woken up to this much late; for less, it looks at the clock."""
LONGEST = 2
"""How many times as long as requests arrive the threads go on, where the machine has become that slow."""
TIMED = 300
"""Calls that say how long one takes."""


def bare_latencies(
    executor: Executor,
    observations: Sequence[Array],
    rate: float,
    seconds: float,
    *,
    workers: int,
    saturation: float,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Array:
    """Nanoseconds from due to done of each Poisson arrival, served by `workers` threads in turn.

    A request is as many calls as make it as long as one of the engine's at `saturation` requests a second:
    the threads are as busy as the engine was at `rate`, with what cannot be late by itself. What is not done
    in twice the time counts with how long it had waited by then. Raises MeasurementError where nothing is.
    """
    repeats = max(1, round(workers / (saturation * _call_s(executor, observations, clock))))
    due = poisson(rate, seconds, np.random.default_rng(0)).tolist()
    last = round(LONGEST * seconds * 1e9)
    line = _Line(executor, observations, due, repeats, last, clock)
    threads = [threading.Thread(target=line.serve, name=f"bare-{index}") for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = np.array(line.done, dtype=np.int64)
    if not done.any():
        raise MeasurementError("the agent answered none of the requests of bare threads")
    return np.where(done, done, last) - np.array(due, dtype=np.int64)


class _Line:
    """Requests in the order of their arrival, of which each thread takes the next."""

    def __init__(
        self,
        executor: Executor,
        observations: Sequence[Array],
        due: Sequence[int],
        repeats: int,
        last: int,
        clock: Callable[[], int],
    ) -> None:
        self.done = [0] * len(due)
        self._executor, self._observations, self._clock = executor, observations, clock
        self._due, self._repeats, self._last = due, range(repeats), last
        self._begin = clock()
        self._places = iter(range(len(due)))  # `next` of it is atomic under the GIL

    def serve(self) -> None:
        """Take requests until there is none."""
        begin, clock, due, executor = self._begin, self._clock, self._due, self._executor
        ring, size, repeats = self._observations, len(self._observations), self._repeats
        for place in self._places:
            while (early := due[place] - (clock() - begin)) > 0:
                if early > SLEPT_NS:
                    time.sleep((early - SLEPT_NS) / 1e9)
            if clock() - begin > self._last:
                return
            observation = ring[place % size]
            for _ in repeats:
                executor(observation)
            self.done[place] = clock() - begin


def _call_s(executor: Executor, observations: Sequence[Array], clock: Callable[[], int]) -> float:
    times = []
    for observation in [*observations, *observations][:TIMED]:
        began = clock()
        executor(observation)
        times.append(clock() - began)
    return float(np.median(times)) / 1e9
