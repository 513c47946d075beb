"""Tells a leak from noise, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grandopt.errors import ConfigError
from grandopt.runtime.memory.census import Census
from grandopt.runtime.memory.history import MemoryReading
from grandopt.runtime.memory.trend import FEWEST, Trend, trend

LEAST = (1 << 20) / 60
"""Bytes per second from which growth counts: 1 MiB per minute."""
CONFIDENCE = 0.99
LATER = 0.8
"""The confidence for the later half alone, which has fewer readings."""
PART = 0.4
"""The share of the growth from which on Python objects are named as its place. Objects say less than they
take (the allocator rounds, attributes may be stored beside them), so that a third and more may be missing."""
OWN = "grandopt.runtime.memory."
MOST_TYPES = 10

Origin = Literal["none", "python", "native"]


@dataclass(frozen=True)
class Growth:
    """A type whose number rises: objects and bytes per second."""

    type: str
    objects: Trend
    bytes: float


@dataclass(frozen=True)
class LeakReport:
    """What the readings say; trends are in bytes per second (`blocks`: objects per second).

    `python` is the memory that a census sees, `native` the resident memory beyond it; None without censuses.
    `origin` is "none" where nothing leaks. `growing` are the types that rise, most bytes first.
    """

    leaking: bool
    origin: Origin
    reason: str
    resident: Trend | None
    blocks: Trend | None
    python: Trend | None
    native: Trend | None
    growing: tuple[Growth, ...]


def find_leak(
    readings: Sequence[MemoryReading], *, least: float = LEAST, confidence: float = CONFIDENCE
) -> LeakReport:
    """Judge a series of readings.

    Memory leaks where its slope is above `least` bytes per second with the given confidence (the lower end
    of its interval is), over all readings, and with 80 % over the later half of them alone: a process
    that has only warmed up does not go on growing. See `trend` for the methods.

    Where a leak is: with at least 8 readings with a census, in Python objects or beyond them, whichever holds
    the larger part; `python` and `native` of the report say how much each grows. Without, by the count of
    Python's small objects: every leaked object has at least one, also an array of which the memory itself
    lies elsewhere; where they do not rise, the leak is native. Raises ConfigError for a negative `least`.
    """
    if least < 0:
        raise ConfigError(f"the least growth of a leak cannot be negative, got {least} bytes per second")
    times = [reading.time for reading in readings]
    resident = trend(times, [reading.resident.all for reading in readings], confidence)
    blocks = trend(times, [reading.blocks for reading in readings], confidence)
    counted = [(reading, reading.census) for reading in readings if reading.census is not None]
    python, native = _parts(counted, confidence)
    growing = _growing(counted, confidence)
    if resident is None:
        reason = f"{len(readings)} readings are too few to tell; a trend needs {FEWEST}"
        return LeakReport(False, "none", reason, None, None, python, native, growing)
    later = readings[len(readings) // 2 :]
    recent = trend([item.time for item in later], [item.resident.all for item in later], LATER)
    rising = resident.low > least
    lasting = recent is None or recent.low > least
    leaking = rising and lasting
    origin = _origin(resident, blocks, python) if leaking else "none"
    reason = _reason(resident, least, confidence, rising=rising, lasting=lasting)
    return LeakReport(leaking, origin, reason, resident, blocks, python, native, growing)


def _parts(
    counted: list[tuple[MemoryReading, Census]], confidence: float
) -> tuple[Trend | None, Trend | None]:
    times = [reading.time for reading, _ in counted]
    seen = [census.bytes + census.tensor_bytes for _, census in counted]
    beyond = [reading.resident.all - size for (reading, _), size in zip(counted, seen, strict=True)]
    return trend(times, seen, confidence), trend(times, beyond, confidence)


def _growing(counted: list[tuple[MemoryReading, Census]], confidence: float) -> tuple[Growth, ...]:
    """Types whose number rises significantly. Between two censuses alone, nothing is significant."""
    if len(counted) < FEWEST:
        return ()
    times = [reading.time for reading, _ in counted]
    first, last = counted[0][1].types, counted[-1][1].types
    found = []
    for name, (count, size) in last.items():
        before = first.get(name, (0, 0))
        if count <= before[0] or name.startswith(OWN):  # what the monitor keeps
            continue
        rise = trend(times, [census.types.get(name, (0, 0))[0] for _, census in counted], confidence)
        if rise is not None and rise.low > 0:
            found.append(Growth(name, rise, (size - before[1]) / (times[-1] - times[0])))
    return tuple(sorted(found, key=lambda growth: -growth.bytes)[:MOST_TYPES])


def _origin(resident: Trend, blocks: Trend | None, python: Trend | None) -> Origin:
    if python is None:
        return "python" if blocks is not None and blocks.low > 0 else "native"
    return "python" if python.low > 0 and python.slope >= PART * resident.slope else "native"


def _reason(resident: Trend, least: float, confidence: float, *, rising: bool, lasting: bool) -> str:
    figures = (
        f"{_rate(resident.slope)} ({100 * confidence:g} % sure: {_rate(resident.low)} to "
        f"{_rate(resident.high)}, p = {resident.p:.2g}, {resident.readings} readings)"
    )
    if rising and lasting:
        return f"resident memory grows by {figures}"
    if rising:
        return f"resident memory grew by {figures}, but no longer in the later half"
    return f"resident memory does not grow by {_rate(least)} or more for sure: {figures}"


def _rate(slope: float) -> str:
    return f"{60 * slope / (1 << 20):.2f} MiB/min"
