"""The request for a batch curve."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable, miscounted


@dataclass(frozen=True)
class MeasuredBatch:
    """One batch size of a curve."""

    batch: int
    p50_ns: float
    mean_ns: float
    calls: int
    stable: bool


@dataclass(frozen=True)
class SubjectPoints:
    """The points of one subject, and why there are no more."""

    points: tuple[MeasuredBatch, ...]
    reason: str | None


@dataclass(frozen=True)
class CurvePoints:
    """All subjects, in the order of the request."""

    subjects: tuple[SubjectPoints, ...]


@dataclass(frozen=True)
class MeasureCurve(Request[CurvePoints], kind="curve"):
    """Time the subjects at growing batch sizes."""

    subjects: tuple[Loadable, ...]
    ring: Paths
    batches: tuple[int, ...]
    threads: int
    max_seconds: float

    def misfit(self, answer: CurvePoints) -> str | None:
        return miscounted(self.subjects, answer.subjects)
