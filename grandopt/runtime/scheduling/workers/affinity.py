"""The CPUs that workers run on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Literal

from grandopt.cgroup import cpu_quota
from grandopt.errors import ConfigError

Affinity = Literal["none", "pin"] | Sequence[int]
"""Where workers run: wherever the system puts them, each on one CPU of its own, or on the CPUs named."""


def allowed_cpus() -> tuple[int, ...]:
    """The CPUs that the system may put this process on, in order; control groups and masks count."""
    return tuple(sorted(os.sched_getaffinity(0)))


def usable_cores() -> int:
    """How many threads can run at once: the CPUs allowed, cut by the control group's quota, at least 1."""
    allowed, quota = len(allowed_cpus()), cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def places(affinity: Affinity, workers: int, allowed: Sequence[int] | None = None) -> tuple[int | None, ...]:
    """The CPU of each of so many workers, None for one that is not pinned.

    "pin" spreads them over all CPUs `allowed` (those of this process), a list over the CPUs that it names; of
    more workers than CPUs several share one. Raises ConfigError for a CPU that this process may not use, and
    for anything else.
    """
    usable = allowed_cpus() if allowed is None else tuple(allowed)
    if affinity == "none":
        return (None,) * workers
    named: Any = usable if affinity == "pin" else affinity
    if isinstance(named, str) or not isinstance(named, Sequence) or not named:
        raise ConfigError(f"affinity must be 'none', 'pin' or a list of CPU numbers, got {affinity!r}")
    for cpu in named:
        if isinstance(cpu, bool) or not isinstance(cpu, int) or cpu not in usable:
            raise ConfigError(
                f"affinity names CPU {cpu!r}, which this process may not use: name some of "
                f"{', '.join(map(str, usable))}, or 'pin' for all of them"
            )
    return tuple(named[worker % len(named)] for worker in range(workers))


def pin(cpu: int | None) -> None:
    """Keep the calling thread, and those that it starts from now on, on one CPU; None leaves it alone.

    Raises ConfigError when the CPU was taken from this process meanwhile.
    """
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        raise ConfigError(
            f"cannot run on CPU {cpu}: {error.strerror}; this process may use "
            f"{', '.join(map(str, allowed_cpus()))}"
        ) from error
