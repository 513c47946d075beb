"""The request for an operator profile."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable
from grandopt.runtime.executors.operators import OperatorTime


@dataclass(frozen=True)
class OperatorTimes:
    """The median of a call without the profiler, and the operators; none, and the `reason`, without one."""

    call_ns: float
    operators: tuple[OperatorTime, ...]
    reason: str | None


@dataclass(frozen=True)
class ProfileOperators(Request[OperatorTimes], kind="operators"):
    """Profile a subject, on calls of batch 1 for about so many seconds."""

    subject: Loadable
    ring: Paths
    threads: int
    seconds: float
