"""The two figures of a call in the worker: warm, and after other work, which has filled the caches.

A subject has a turn for itself: calls one after the other until the caches hold what it keeps there, then
blocks of them, then single calls before each of which a set of memory larger than the core's own caches is
read and written. Of those the clock and the loop are taken off, as they are after the same work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from grandopt.measurement.ring import Batch, slices
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.warmth import MeasureWarmth, WarmthFound, WarmthTimes
from grandopt.measurement.worker.opening import opened
from grandopt.measurement.worker.sampling import (
    Call,
    TimedCalls,
    alone,
    block_size,
    time_blocks,
    time_calls,
    timer_overhead_ns,
    warm_up,
)
from grandopt.signature import Array

LINE_BYTES = 64
"""What a cache takes at once, at least."""

SETTLING_SHARE, WARM_SHARE = 0.1, 0.3
"""Of a turn, before and in its warm blocks; the rest is for calls after other work, which takes longest."""

FEWEST = 3
"""Blocks, and calls after other work, that a turn holds however slow the agent is."""

MOST_BLOCKS = 2_000


class OtherWork:
    """A walk through memory, every line of which it reads and writes."""

    def __init__(self, size: int) -> None:
        self._words = np.zeros(max(1, size // 8), dtype=np.int64)[:: LINE_BYTES // 8]

    def __call__(self) -> None:
        np.add(self._words, 1, out=self._words)


def warmth(request: MeasureWarmth) -> WarmthFound:
    """Both figures of all subjects, which take turns in random order."""
    overhead, work = timer_overhead_ns(), OtherWork(request.other_bytes)
    settings = MeasurementSettings.quick(threads=request.threads, max_seconds=request.seconds)
    with ExitStack() as stack:
        batches = slices(load_inputs(request.ring), 1)
        runs = [opened(subject, batches, request.threads, stack) for subject in request.subjects]
        found = [_Times() for _ in runs]
        for run in runs:
            warm_up(run, settings, request.seconds * 1e9 * SETTLING_SHARE)
            run.block_calls = block_size(run.typical_ns, overhead)
        order = random.Random(len(runs))
        for _ in range(request.turns):
            for place in order.sample(range(len(runs)), len(runs)):
                with alone():
                    _turn(runs[place], found[place], work, request.seconds * 1e9)
    return WarmthFound(tuple(times.answer() for times in found))


class _Times:
    """What was timed of one subject, a median for each turn."""

    def __init__(self) -> None:
        self.warm: list[float] = []
        self.after: list[float] = []
        self.warm_calls = self.after_calls = 0

    def answer(self) -> WarmthTimes:
        return WarmthTimes(tuple(self.warm), tuple(self.after), self.warm_calls, self.after_calls)


def _turn(run: TimedCalls, times: _Times, work: OtherWork, turn_ns: float) -> None:
    """Both figures once more."""
    per_block = run.typical_ns * run.block_calls
    count = max(FEWEST, min(MOST_BLOCKS, int(turn_ns * WARM_SHARE / per_block)))
    settling = max(1, int(turn_ns * SETTLING_SHARE / run.typical_ns))
    time_calls(run.call, run.take(min(settling, count * run.block_calls)))
    blocks = time_blocks(run.call, run.take(count * run.block_calls), run.block_calls)
    times.warm.append(float(np.median(blocks)))
    times.warm_calls += len(blocks) * run.block_calls
    deadline = time.perf_counter_ns() + turn_ns * (1 - SETTLING_SHARE - WARM_SHARE)
    alone_ns, calls = _after(work, run.call, run.feed, deadline)
    times.after.append(max(1.0, float(np.median(calls)) - float(np.median(alone_ns))))
    times.after_calls += len(calls)


def _after(work: OtherWork, call: Call, feed: Iterator[Batch], deadline: float) -> tuple[Array, Array]:
    """Nanoseconds of nothing, and of a call, each after the work, turn by turn until the deadline."""
    clock = time.perf_counter_ns
    nothing: list[int] = []
    calls: list[int] = []
    while len(calls) < FEWEST or clock() < deadline:
        batch = next(feed)
        work()
        start = clock()
        _nothing(batch)
        end = clock()
        nothing.append(end - start)
        work()
        start = clock()
        call(batch)
        end = clock()
        calls.append(end - start)
    return np.asarray(nothing), np.asarray(calls)


def _nothing(batch: Batch) -> None:
    """A call without an agent."""
