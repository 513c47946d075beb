"""Figures as people read them: durations, rates, sizes and ratios with their units.

Units follow the size: ns, µs, ms or s for durations; a ratio is shown to the digits that its interval
supports.
"""

from __future__ import annotations

import math

from grandopt.reporting.figures import RatioReport


def duration(microseconds: float) -> str:
    """A duration given in µs, with three significant digits and its unit: "52.1 µs", "1.20 ms"."""
    for unit, factor in (("ns", 1e-3), ("µs", 1.0), ("ms", 1e3)):
        text = _three_digits(microseconds / factor)
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{_three_digits(microseconds / 1e6)} s"


def rate(per_second: float) -> str:
    """Calls per second with three significant digits: "950", "18.6k", "1.20M"."""
    for unit, factor in (("", 1.0), ("k", 1e3)):
        text = _three_digits(per_second / factor) if unit else f"{per_second:.0f}"
        if float(text) < 1000:
            return text + unit
    return _three_digits(per_second / 1e6) + "M"


def size(count: float) -> str:
    """A number of bytes with three significant digits, in decimal units: "86.0 kB", "12.5 MB"."""
    for unit, factor in (("B", 1.0), ("kB", 1e3), ("MB", 1e6)):
        text = _three_digits(count / factor) if unit != "B" else f"{count:.0f}"
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{_three_digits(count / 1e9)} GB"


def ratio(speedup: RatioReport) -> str:
    """A speed-up and its interval: "1.9× (1.8–2.0)"."""
    return f"{factor(speedup)} ({interval(speedup)})"


def factor(speedup: RatioReport) -> str:
    """A speed-up without its interval: "1.9×"."""
    return f"{speedup.value:.{_decimals(speedup)}f}×"


def interval(speedup: RatioReport) -> str:
    """The interval of a speed-up: "1.8–2.0"."""
    decimals = _decimals(speedup)
    return f"{speedup.low:.{decimals}f}–{speedup.high:.{decimals}f}"


def _three_digits(value: float) -> str:
    if value == 0 or math.isinf(value):
        return f"{value:.0f}"
    value = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 2)}f}"


def _decimals(speedup: RatioReport) -> int:
    """As many decimals as tell the ends of the interval apart, at most 3, and at least 1 below 10."""
    width = speedup.high - speedup.low
    needed = math.ceil(-math.log10(width) - 1e-9) if width > 0 else 2
    return min(3, max(needed, 1 if speedup.value < 10 else 0))
