"""One process of a comparison: three loads of two artifacts, in short blocks side by side.

A round is one block of each load in random order and then one of each in the reverse order, so that a drift
falls on all alike. Blocks are short against what disturbs a busy machine, the time slice of another process
or a change of the clock's frequency: it meets the blocks of a round together, or one round among many, which
the median over rounds leaves out. Of the two blocks of a load the faster one counts, since a disturbance only
adds time.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from grandopt.measurement.ring import slices
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.statistics import SAMPLES_NEEDED
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.pair import ComparePair, PairTimes
from grandopt.measurement.worker.opening import opened
from grandopt.measurement.worker.sampling import (
    TimedCalls,
    alone,
    block_size,
    time_blocks,
    time_calls,
    timer_overhead_ns,
    warm_up,
)

BLOCK_NS = 100_000.0
"""What a block takes; a longer call is a block of its own."""

SETTLING_SHARE = 0.1
WARMUP_NS = 1e8
FEWEST_ROUNDS = 25
TAIL = 99.0
LONGEST_NS = 4e9
"""Where the calls that a p99 needs do not fit, it is left out."""


def pair(request: ComparePair) -> PairTimes:
    """The times of the request's subjects."""
    batches = slices(load_inputs(request.ring), 1)
    order = random.Random(request.seed)
    overhead = timer_overhead_ns()
    settings = MeasurementSettings.quick(threads=request.threads, window_ms=1.0)
    with ExitStack() as stack:
        # Loading in random order, too: the first load finds the memory in another state than the last.
        places = order.sample(range(len(request.subjects)), len(request.subjects))
        loaded = {place: opened(request.subjects[place], batches, request.threads, stack) for place in places}
        runs = [loaded[place] for place in sorted(loaded)]
        for place in places:
            warm_up(loaded[place], settings, WARMUP_NS)
        typical = max(run.typical_ns for run in runs)
        size = max(block_size(typical, overhead), math.ceil(BLOCK_NS / typical))
        blocks, calls = _rounds(runs, size, order, request.seconds * 1e9, tails=request.tails)
    return PairTimes(
        blocks=tuple(tuple(block) for block in blocks),
        block_calls=size,
        tails=tuple(_tail(times) for times in calls) if request.tails else None,
        calls=len(calls[0]),
    )


def _rounds(
    runs: Sequence[TimedCalls], size: int, order: random.Random, duration_ns: float, *, tails: bool
) -> tuple[list[list[float]], list[list[int]]]:
    start = time.perf_counter_ns()
    blocks: list[list[float]] = []
    calls: list[list[int]] = [[] for _ in runs]
    while True:
        spent = time.perf_counter_ns() - start
        short = len(blocks) < FEWEST_ROUNDS or (tails and len(calls[0]) < SAMPLES_NEEDED[TAIL])
        if spent > duration_ns and not (short and spent < LONGEST_NS):
            return blocks, calls
        turn = order.sample(range(len(runs)), len(runs))
        best = [math.inf] * len(runs)
        with alone():
            for place in [*turn, *reversed(turn)]:
                run = runs[place]
                time_calls(run.call, run.take(max(1, int(size * SETTLING_SHARE))))
                best[place] = min(best[place], time_blocks(run.call, run.take(size), size)[0])
                if tails:
                    calls[place] += time_calls(run.call, run.take(size))
        blocks.append(best)


def _tail(calls: Sequence[int]) -> float | None:
    return float(np.percentile(calls, TAIL)) if len(calls) >= SAMPLES_NEEDED[TAIL] else None
