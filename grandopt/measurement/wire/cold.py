"""The request for a cold start."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable


@dataclass(frozen=True)
class ColdTimes:
    """Opening, the first call, and the resident set after it."""

    load_ns: int
    first_call_ns: int
    resident_bytes: int


@dataclass(frozen=True)
class StartCold(Request[ColdTimes], kind="cold"):
    """Load a subject and call it once."""

    subject: Loadable
    inputs: Paths
    threads: int
