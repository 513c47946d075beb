"""The reading of times and counts that people write with units."""

from __future__ import annotations

import math
import re

from grandopt.errors import ConfigError

UNITS_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_TIME = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?) ?(ns|us|µs|ms|s)", re.IGNORECASE)


def parse_time_ms(option: str, text: str) -> float:
    """A time such as 500us, 2ms or 1s, in ms; raises ConfigError for anything else."""
    found = _TIME.fullmatch(text.strip())
    try:
        value = float(found[1]) * UNITS_MS[found[2].lower()] if found is not None else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value <= 3_600_000:
        raise ConfigError(
            f"{option} must be a time above 0 with its unit, such as 500us, 2ms or 1s, got {text!r:.60}"
        )
    return value


def positive(option: str, value: float, most: float) -> float:
    """`value` as it is; raises ConfigError unless it is above 0 and at most `most`."""
    if not (0 < value <= most and math.isfinite(value)):
        raise ConfigError(f"{option} must be above 0 and at most {most:,.0f}, got {value:g}")
    return value
