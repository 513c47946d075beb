"""The request for the two figures of a call: warm, and after other work."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable, miscounted


@dataclass(frozen=True)
class WarmthTimes:
    """One subject: the median of a call in each turn, warm and after other work, and how many were timed."""

    warm_ns: tuple[float, ...]
    after_ns: tuple[float, ...]
    warm_calls: int
    after_calls: int


@dataclass(frozen=True)
class WarmthFound:
    """All subjects, in the order of the request."""

    subjects: tuple[WarmthTimes, ...]


@dataclass(frozen=True)
class MeasureWarmth(Request[WarmthFound], kind="warmth"):
    """Time the subjects warm and after other work, in so many `turns` each of `seconds`.

    The other work reads and writes `other_bytes` of memory.
    """

    subjects: tuple[Loadable, ...]
    ring: Paths
    threads: int
    other_bytes: int
    turns: int
    seconds: float

    def misfit(self, answer: WarmthFound) -> str | None:
        return miscounted(self.subjects, answer.subjects)
