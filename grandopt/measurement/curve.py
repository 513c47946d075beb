"""The batch curve of a subject: latency and throughput over the batch size, and the line through them.

One process loads the subjects once; at every batch size they take turns. The inputs of a call are a window
of consecutive samples, each call's begins one sample further, so that 256 calls differ without 256 times the
largest batch in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.ring import MIN_RING
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import save_inputs
from grandopt.measurement.wire.curve import MeasureCurve, SubjectPoints
from grandopt.signature import Array

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FIT = "least squares weighted by 1/t²: every batch size counts by its relative error"
FEWEST_FOR_FIT = 3


@dataclass(frozen=True)
class Point:
    """One batch size: the median latency of a call in µs over `calls` calls, and observations per second."""

    batch: int
    p50_us: float
    throughput: float
    calls: int
    stable: bool


@dataclass(frozen=True)
class FittedLine:
    """Latency in µs ≈ `per_observation_us` · n + `fixed_us`.

    `worst` is the largest distance of a point from the line, as a fraction of the point.
    """

    per_observation_us: float
    fixed_us: float
    worst: float


@dataclass(frozen=True)
class Curve:
    """One subject's points, its line (None for fewer than three points), and why batch sizes are missing."""

    label: str
    points: tuple[Point, ...]
    line: FittedLine | None
    reason: str | None


def curves(
    subjects: Sequence[Subject],
    ring: Sequence[Array],
    pool: WorkerPool,
    *,
    threads: int = 1,
    batches: Sequence[int] = BATCHES,
    max_seconds: float = 4.0,
) -> tuple[Curve, ...]:
    """Measure the subjects at each batch size, the smallest first.

    `ring` holds one array [N, *shape] per input with N at least 256 plus the largest batch. Batch sizes for
    which `max_seconds` (for all together) do not suffice are left out, and `reason` says so, as it does
    when a subject cannot take one. Raises MeasurementError for a shorter ring, a subject that cannot be
    loaded, or a worker that dies or hangs.
    """
    rows = ring[0].shape[0]
    needed = MIN_RING + max(batches)
    if rows < needed:
        raise MeasurementError(f"batches of {max(batches)} need {needed} samples, got {rows}")
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        request = MeasureCurve(
            subjects=tuple(subject.loadable(pool.loader) for subject in subjects),
            ring=save_inputs(ring, Path(name)),
            batches=tuple(batches),
            threads=threads,
            max_seconds=max_seconds,
        )
        answer = pool.ask(0, threads, request, max_seconds)
    return tuple(
        _curve(subject.label, found) for subject, found in zip(subjects, answer.subjects, strict=True)
    )


def fitted(points: Sequence[Point]) -> FittedLine | None:
    """The line through the points by weighted least squares (see FIT); None for fewer than three."""
    if len(points) < FEWEST_FOR_FIT:
        return None
    sizes = np.array([point.batch for point in points], dtype=np.float64)
    times = np.array([point.p50_us for point in points])
    # Dividing each equation by its time turns the weights into plain least squares of relative errors.
    matrix = np.stack([sizes / times, 1.0 / times], axis=1)
    (slope, fixed), *_ = np.linalg.lstsq(matrix, np.ones_like(times), rcond=None)
    worst = float(np.abs((slope * sizes + fixed) / times - 1.0).max())
    return FittedLine(float(slope), float(fixed), worst)


def _curve(label: str, found: SubjectPoints) -> Curve:
    points = tuple(
        Point(
            batch=item.batch,
            p50_us=item.p50_ns / 1e3,
            throughput=item.batch / item.mean_ns * 1e9,
            calls=item.calls,
            stable=item.stable,
        )
        for item in found.points
    )
    return Curve(label, points, fitted(points), found.reason)
