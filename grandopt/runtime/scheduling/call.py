"""How the parts above a batcher call an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from grandopt.errors import ConfigError, DeadlineExceeded
from grandopt.signature import Array

Infer = Callable[[tuple[Array, ...], int, int], Awaitable[tuple[Array, ...]]]
"""Called with one array [*shape] per input, the priority and the deadline (nanoseconds of the clock, 0 none):
one array [*shape] per output."""

FOREVER_S = 1e9
"""Seconds, 30 years: a deadline that is further away is none."""


def deadline_of(seconds: float | None, now_ns: int) -> int:
    """The deadline that lies `seconds` after `now_ns`, in nanoseconds of the same clock; 0 for none, and for
    more than FOREVER_S.

    Raises ConfigError for what is no number, and DeadlineExceeded for a time that is not in the future.
    """
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        raise ConfigError(f"deadline_s must be a number of seconds from now, got {seconds!r}")
    if seconds <= 0:
        raise DeadlineExceeded(f"the deadline has passed: deadline_s is {seconds:g} s from now")
    return 0 if seconds > FOREVER_S else now_ns + max(1, int(seconds * 1e9))
