"""The operator profile of an artifact: where the time of a call goes, as far as its engine says it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import save_inputs
from grandopt.measurement.wire.operators import ProfileOperators
from grandopt.runtime.executors.operators import OperatorTime
from grandopt.signature import Array

SECONDS = 2.0


@dataclass(frozen=True)
class OperatorProfile:
    """The operators of one call, the slowest first; none, and the `reason`, where the engine has no profile.

    `call_us` is the median of a call without the profiler, taken just before.
    """

    label: str
    call_us: float
    operators: tuple[OperatorTime, ...]
    reason: str | None


def profiled(
    subject: Subject, ring: Sequence[Array], pool: WorkerPool, *, threads: int = 1
) -> OperatorProfile:
    """Profile an artifact in a worker process, on batches of 1 out of `ring` ([N, *shape] per input).

    Raises MeasurementError when it cannot be loaded or called, or when the worker dies or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        inputs = save_inputs(ring, Path(name))
        request = ProfileOperators(subject.loadable(pool.loader), inputs, threads, SECONDS)
        answer = pool.ask(0, threads, request, SECONDS)
    return OperatorProfile(subject.label, answer.call_ns / 1e3, answer.operators, answer.reason)
