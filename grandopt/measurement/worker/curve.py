"""A batch curve in the worker: the same loops as everywhere, at growing batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.measurement.ring import Batch, slices
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.statistics import is_stable
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.curve import CurvePoints, MeasureCurve, MeasuredBatch, SubjectPoints
from grandopt.measurement.worker.opening import opened
from grandopt.measurement.worker.sampling import Call, TimedCalls, sample, timer_overhead_ns
from grandopt.signature import Array

WINDOWS = 256
FEWEST_CALLS = 8
"""What a batch size costs at least: first call, warm-up, and three rounds of an untimed and a timed call."""

SHARE_S = 0.25
"""Seconds of calls of one subject at one batch size."""

MOST_TURNS = 3
REPEAT_SHARE = 0.1
"""How often a batch size is measured before an unsteady speed is taken as it is, and the share of the time
left that another turn may take: larger batches are worth more."""


def curve(request: MeasureCurve) -> CurvePoints:
    """The points of every subject, and why it has no more of them."""
    ring = load_inputs(request.ring)
    with ExitStack() as stack:
        first = slices(ring, 1)[:1]
        # A batch of many sessions is one plain call with their states, so that is what its curve shows.
        runs = [opened(subject, first, request.threads, stack, steps=False) for subject in request.subjects]
        return CurvePoints(_points([run.call for run in runs], ring, request, timer_overhead_ns()))


def _points(
    calls: Sequence[Call], ring: Sequence[Array], request: MeasureCurve, overhead_ns: float
) -> tuple[SubjectPoints, ...]:
    end = time.perf_counter() + request.max_seconds
    points: list[list[MeasuredBatch]] = [[] for _ in calls]
    reasons: list[str | None] = [None for _ in calls]
    left = dict(enumerate(calls))
    expected = 0.0
    for batch in request.batches:
        if not left or time.perf_counter() + expected > end:
            for place in left:
                reasons[place] = f"no time for batches of {batch} and more"
            break
        runs: dict[int, TimedCalls] = {}
        for place, call in list(left.items()):
            try:
                runs[place] = _called(call, ring, batch)
            except GrandoptError as error:
                reasons[place] = f"cannot take a batch of {batch}: {error}"
                del left[place]
        settings = MeasurementSettings.quick(
            threads=request.threads, batch=batch, rounds=6, window_ms=2.0, max_seconds=SHARE_S
        )
        for turn in range(MOST_TURNS):
            begin = time.perf_counter()
            sample(list(runs.values()), settings, overhead_ns, f"curve:{batch}:{turn}")
            now = time.perf_counter()
            if all(_is_steady(run) for run in runs.values()) or now - begin > REPEAT_SHARE * (end - now):
                break
        for place, run in runs.items():
            points[place].append(_point(run, batch))
        # The next batch is twice as large and takes at most about twice as long.
        expected = 2 * FEWEST_CALLS * sum(run.typical_ns for run in runs.values()) / 1e9
    return tuple(SubjectPoints(tuple(own), why) for own, why in zip(points, reasons, strict=True))


def _called(call: Call, ring: Sequence[Array], batch: int) -> TimedCalls:
    feed = _windows(ring, batch)
    start = time.perf_counter_ns()
    call(next(feed))
    return TimedCalls(call, feed, load_ns=0, first_call_ns=time.perf_counter_ns() - start)


def _windows(ring: Sequence[Array], batch: int) -> Iterator[Batch]:
    return itertools.cycle([[array[i : i + batch] for array in ring] for i in range(WINDOWS)])


def _is_steady(run: TimedCalls) -> bool:
    return is_stable([float(np.median(blocks)) for blocks in run.block_ns])


def _point(run: TimedCalls, batch: int) -> MeasuredBatch:
    blocks = np.concatenate(run.block_ns)
    return MeasuredBatch(
        batch=batch,
        p50_ns=float(np.median(blocks)),
        mean_ns=float(blocks.mean()),
        calls=int(blocks.size) * run.block_calls,
        stable=_is_steady(run),
    )
