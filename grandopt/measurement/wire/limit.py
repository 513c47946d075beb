"""The request for the machine's speeds."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.codec import Request


@dataclass(frozen=True)
class MachineSpeeds:
    """Pairs of working set in bytes and read speed in 10^9 bytes a second; float32 arithmetic in 10^9
    operations a second."""

    speeds: tuple[tuple[int, float], ...]
    peak_gflop_s: float


@dataclass(frozen=True)
class MeasureSpeeds(Request[MachineSpeeds], kind="limit"):
    """Measure how fast one core reads working sets, in bytes, and multiplies."""

    working_sets: tuple[int, ...]
