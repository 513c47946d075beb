"""Subjects timed in turns: a whole measurement at once, or round by round as the parent calls for them.

The parent directs the rounds where subjects live in several interpreters, so that those of one process pair
up with those of another.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.ring import slices
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.codec import Done
from grandopt.measurement.wire.measure import (
    BeginRounds,
    EndRounds,
    Measure,
    PlayRound,
    RoundsBegun,
    SubjectTimings,
    Timings,
)
from grandopt.measurement.worker.opening import opened
from grandopt.measurement.worker.sampling import TimedCalls, play, prepare, sample, timer_overhead_ns


def measure(request: Measure) -> Timings:
    """The samples of all subjects, which are loaded, timed and closed."""
    overhead = timer_overhead_ns()
    with ExitStack() as stack:
        runs = _opened(request, stack)
        sample(runs, request.settings, overhead, request.seed)
    return Timings(overhead, _written(runs, request.folder, ""))


class DirectedRounds:
    """A measurement between its requests; each raises MeasurementError when it comes out of turn."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._runs: list[TimedCalls] = []
        self._order = random.Random()
        self._overhead_ns = 0.0

    def begin(self, request: BeginRounds) -> RoundsBegun:
        """Load and warm up all subjects; what a round of them will take, and the time that is left."""
        self._close()
        settings = request.settings
        self._overhead_ns = timer_overhead_ns()
        self._runs = _opened(request, self._stack)
        self._order = random.Random(request.seed)
        deadline = time.perf_counter_ns() + settings.seconds_per_process * 1e9 * len(self._runs)
        prepare(self._runs, settings, self._overhead_ns, deadline)
        left = max(0.0, deadline - time.perf_counter_ns())
        return RoundsBegun(sum(run.round_ns for run in self._runs), left)

    def play(self, request: PlayRound) -> Done:
        """Every subject plays once, in random order."""
        if not self._runs:
            raise MeasurementError("a round was asked for before the measurement began")
        for run in self._order.sample(self._runs, len(self._runs)):
            play(run)
        return Done()

    def end(self, request: EndRounds) -> Timings:
        """The samples of all subjects; they are closed."""
        timings = Timings(self._overhead_ns, _written(self._runs, request.folder, f"{request.prefix}-"))
        self._close()
        return timings

    def _close(self) -> None:
        self._stack.close()
        self._runs = []


rounds = DirectedRounds()
"""Those of this process; a worker has one parent."""


def _opened(request: Measure | BeginRounds, stack: ExitStack) -> list[TimedCalls]:
    settings = request.settings
    batches = slices(load_inputs(request.ring), settings.batch)
    return [
        opened(subject, batches, settings.threads, stack, into=settings.into) for subject in request.subjects
    ]


def _written(runs: Sequence[TimedCalls], folder: Path, prefix: str) -> tuple[SubjectTimings, ...]:
    """Raw samples as files [rounds, samples per round], the rest as plain numbers."""
    found = []
    for place, run in enumerate(runs):
        calls, blocks = (folder / f"{what}-{prefix}{place}.npy" for what in ("calls", "blocks"))
        np.save(calls, np.asarray(run.call_ns, dtype=np.int64))
        np.save(blocks, np.asarray(run.block_ns, dtype=np.float64))
        found.append(
            SubjectTimings(
                calls=calls,
                blocks=blocks,
                block_calls=run.block_calls,
                load_ns=run.load_ns,
                first_call_ns=run.first_call_ns,
                calls_to_stable=run.calls_to_stable,
                cpu_ns=run.cpu_ns,
                cpu_calls=run.cpu_calls,
            )
        )
    return tuple(found)
