"""The loops that time calls in a worker process: the same for every subject.

A subject's calls are timed one by one with `perf_counter_ns`, for the tails. Reading the clock costs tens of
nanoseconds, which a call of a microsecond would be charged with, so the centre of the distribution is taken
from blocks of calls: a block is as many calls as it takes for the clock to be under 1 % of it. For calls
above some microseconds a block is one call, and the two are the same samples.

The garbage collector is off inside timed stretches and on between them: its pauses depend on what else the
process holds, not on the agent. Each stretch begins with untimed calls, so that no subject is charged for
refilling the caches, or for the still spinning threads, that the one before it left behind.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grandopt.measurement.ring import Batch
from grandopt.measurement.settings import MIN_ROUNDS, MeasurementSettings
from grandopt.measurement.statistics import STABLE_WINDOWS, is_stable

Call = Callable[[Batch], Any]

TIMER_SHARE = 0.01
WINDOW_LIMIT = 4_000  # calls; for agents that take nanoseconds, whose median more calls do not sharpen
SETTLING_SHARE = 0.05
WARMUP_SHARE = 0.5


@dataclass
class TimedCalls:
    """One loaded subject in one process: its call, its place in the ring, and the samples so far.

    `call_ns` and `block_ns` hold one list per round: the time of each call, and of each block divided by
    its `block_calls`. `cpu_ns` is processor time of all threads during `cpu_calls` calls.
    """

    call: Call
    feed: Iterator[Batch]
    load_ns: int
    first_call_ns: int
    calls_to_stable: int | None = None
    typical_ns: float = 0.0
    window: int = 0
    block_calls: int = 1
    call_ns: list[list[int]] = field(default_factory=list)
    block_ns: list[list[float]] = field(default_factory=list)
    cpu_ns: int = 0
    cpu_calls: int = 0

    def take(self, count: int) -> list[Batch]:
        """The next `count` inputs of the ring."""
        return list(itertools.islice(self.feed, count))

    @property
    def round_ns(self) -> float:
        """What a round of this subject is expected to take."""
        passes = 1 if self.block_calls == 1 else 2
        return self.typical_ns * (self.settling_calls + self.window * passes)

    @property
    def settling_calls(self) -> int:
        """Untimed calls before a window: one in twenty, at least one."""
        return max(1, int(self.window * SETTLING_SHARE))


def timer_overhead_ns(count: int = 10_000) -> float:
    """What reading the clock adds to a timed call: the median of so many back-to-back differences.

    At least the clock's resolution, where that is coarser.
    """
    clock = time.perf_counter_ns
    gaps = [0] * count
    for place in range(count):
        start = clock()
        gaps[place] = clock() - start
    resolution = time.get_clock_info("perf_counter").resolution * 1e9
    return max(float(np.median(gaps)), resolution)


def sample(runs: Sequence[TimedCalls], settings: MeasurementSettings, overhead_ns: float, seed: str) -> None:
    """Warm up one subject after the other, then play rounds in which each runs once, in random order.

    Takes `settings.seconds_per_process` per subject, except that three rounds of one call are always made.
    """
    deadline = time.perf_counter_ns() + settings.seconds_per_process * 1e9 * len(runs)
    prepare(runs, settings, overhead_ns, deadline)
    expected = sum(run.round_ns for run in runs)
    order = random.Random(seed)
    for done in range(settings.rounds):
        if done >= MIN_ROUNDS and time.perf_counter_ns() + expected > deadline:
            break
        for run in order.sample(runs, len(runs)):
            play(run)


def prepare(
    runs: Sequence[TimedCalls], settings: MeasurementSettings, overhead_ns: float, deadline: float
) -> None:
    """Warm up and plan, for rounds that are to end by `deadline` (of `perf_counter_ns`)."""
    for run in runs:
        warm_up(run, settings, settings.seconds_per_process * 1e9 * WARMUP_SHARE)
    plan(runs, settings, overhead_ns, deadline - time.perf_counter_ns())


def warm_up(run: TimedCalls, settings: MeasurementSettings, budget_ns: float) -> None:
    """Call until the medians of three windows agree, or until the time is up; the latter leaves None.

    `calls_to_stable` counts the calls up to the end of the first of those windows, the first call included.
    """
    deadline = time.perf_counter_ns() + budget_ns
    medians: list[float] = []
    ends: list[int] = []
    size, calls = settings.window_calls, 1
    while True:
        times = time_calls(run.call, itertools.islice(run.feed, size), deadline)
        calls += len(times)
        run.typical_ns = max(float(np.median(times)), 1.0)
        medians.append(run.typical_ns)
        ends.append(calls)
        if len(times) == size and is_stable(medians):
            run.calls_to_stable = ends[-STABLE_WINDOWS]
            return
        if time.perf_counter_ns() > deadline:
            return
        size = window_size(run.typical_ns, settings)


def window_size(typical_ns: float, settings: MeasurementSettings) -> int:
    """Calls in a window: as many as `window_ms` holds, within `window_calls` and WINDOW_LIMIT."""
    wanted = math.ceil(settings.window_ms * 1e6 / typical_ns)
    return max(settings.window_calls, min(wanted, WINDOW_LIMIT))


def plan(
    runs: Sequence[TimedCalls], settings: MeasurementSettings, overhead_ns: float, left_ns: float
) -> None:
    """Set each subject's calls per round and per block.

    Where the time left does not hold three rounds of full windows, all windows shrink to fit. A subject
    whose windows end up below 50 calls will not be called stable.
    """
    for run in runs:
        run.window = window_size(run.typical_ns, settings)
        run.block_calls = min(block_size(run.typical_ns, overhead_ns), run.window)
    wanted = MIN_ROUNDS * sum(run.round_ns for run in runs)
    if wanted > left_ns:
        for run in runs:
            run.window = max(1, int(run.window * max(left_ns, 0.0) / wanted))
            run.block_calls = min(run.block_calls, run.window)


def block_size(typical_ns: float, overhead_ns: float) -> int:
    """The fewest calls of which the clock's cost is at most 1 %."""
    return max(1, math.ceil(overhead_ns / (TIMER_SHARE * typical_ns)))


def play(run: TimedCalls) -> None:
    """One round of one subject: untimed calls, a window of single calls, and, where needed, one of blocks.

    Processor time is taken over the second window if there is one, because it holds less of the clock.
    """
    time_calls(run.call, run.take(run.settling_calls))
    batches = run.take(run.window)
    with alone() as spent:
        calls = time_calls(run.call, batches)
    run.call_ns.append(calls)
    if run.block_calls == 1:
        blocks = [float(value) for value in calls]
    else:
        batches = run.take(run.window // run.block_calls * run.block_calls)
        with alone() as spent:
            blocks = time_blocks(run.call, batches, run.block_calls)
    run.block_ns.append(blocks)
    run.cpu_ns += spent[0]
    run.cpu_calls += len(blocks) * run.block_calls


def time_calls(call: Call, batches: Iterable[Batch], deadline: float = math.inf) -> list[int]:
    """Nanoseconds of each call; stops after the call that passes `deadline` (of `perf_counter_ns`)."""
    clock = time.perf_counter_ns
    times: list[int] = []
    record = times.append
    for batch in batches:
        start = clock()
        call(batch)
        end = clock()
        record(end - start)
        if end > deadline:
            break
    return times


def time_blocks(call: Call, batches: Sequence[Batch], size: int) -> list[float]:
    """Nanoseconds per call of each full block of `size` calls; the loop's own cost is in it."""
    clock = time.perf_counter_ns
    times: list[float] = []
    for first in range(0, len(batches) - size + 1, size):
        block = batches[first : first + size]
        start = clock()
        for batch in block:
            call(batch)
        times.append((clock() - start) / size)
    return times


@contextmanager
def alone() -> Iterator[list[int]]:
    """A stretch without garbage collection; afterwards the list holds its processor time in nanoseconds."""
    spent: list[int] = []
    collecting = gc.isenabled()
    gc.disable()
    before = time.process_time_ns()
    try:
        yield spent
    finally:
        spent.append(time.process_time_ns() - before)
        if collecting:
            gc.enable()
