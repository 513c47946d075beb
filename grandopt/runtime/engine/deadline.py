"""A caller's time limit, in the clock of the runtime."""

from __future__ import annotations

from time import perf_counter_ns
from typing import SupportsFloat

from grandopt.errors import ConfigError, DeadlineExceeded

LONGEST_S = 1e9
"""A deadline that is further away is none."""


def deadline_of(seconds: SupportsFloat | None) -> int:
    """The nanosecond of `perf_counter_ns` that is `seconds` from now; 0 for None and for more than 30 years.

    Raises ConfigError for what is no number, and DeadlineExceeded for a number that is not positive.
    """
    if seconds is None:
        return 0
    if isinstance(seconds, bool | str | bytes) or not isinstance(seconds, SupportsFloat):
        raise ConfigError(f"deadline_s must be a number of seconds from now, got {seconds!r:.60}")
    number = float(seconds)
    if number != number:
        raise ConfigError("deadline_s must be a number of seconds from now, got NaN")
    if number <= 0:
        raise DeadlineExceeded(f"the deadline has passed before the call: deadline_s={number:g}")
    return 0 if number > LONGEST_S else perf_counter_ns() + int(number * 1e9)
