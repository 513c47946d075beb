"""How the parts above a batcher call an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import SupportsFloat

from grandopt.errors import ConfigError, DeadlineExceeded, first_line
from grandopt.signature import Array

Infer = Callable[[tuple[Array, ...], int, int], Awaitable[tuple[Array, ...]]]
"""Called with one array [*shape] per input, the priority and the deadline (nanoseconds of the clock, 0 none):
one array [*shape] per output."""

FOREVER_S = 1e9
"""Seconds, 30 years: a deadline that is further away is none."""


def deadline_of(seconds: SupportsFloat | None, now_ns: int) -> int:
    """The deadline that lies `seconds` after `now_ns`, in nanoseconds of the same clock.

    It is 0, which is none, for None and for more than 30 years. Raises ConfigError for what is no number, and
    DeadlineExceeded for a time that is not in the future.
    """
    if (type(seconds) is float or type(seconds) is int) and 0 < seconds <= FOREVER_S:
        return now_ns + (int(seconds * 1e9) or 1)  # at once: what follows takes as long as a small agent
    if seconds is None:
        return 0
    if isinstance(seconds, bool | str | bytes) or not isinstance(seconds, SupportsFloat):
        raise ConfigError(f"deadline_s must be a number of seconds from now, got {seconds!r:.60}")
    try:
        number = float(seconds)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # an array of several, 10**400
        raise ConfigError(
            f"deadline_s must be a number of seconds from now, got {seconds!r:.60}: {first_line(error)}"
        ) from error
    if number != number:
        raise ConfigError("deadline_s must be a number of seconds from now, got NaN")
    if number <= 0:
        raise DeadlineExceeded(f"the deadline has passed: deadline_s is {number:g} s from now")
    return 0 if number > FOREVER_S else now_ns + max(1, int(number * 1e9))
