"""How load is put on a target: for how long, with which deadline and priorities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from grandopt.errors import MeasurementError

NORMAL = 1
SHORTEST_S = 1e-9
"""What the clock tells: a shorter time would be none."""


@dataclass(frozen=True)
class LoadSettings:
    """One way of loading, the same for every run that is compared.

    Requests of the first `warmup_s` are made and answered like all others, but enter no figure; those of the
    `seconds` after it do. What has no answer `grace_s` after the last request was due is lost. An answer
    counts for the goodput if it came within `deadline_s` of the moment when the request was due; with
    `tell_deadline` the target is told that moment. `priorities` holds the share of requests of each priority
    (they need not sum to 1); `seed` is of the arrivals and of the priorities.
    """

    seconds: float = 1.0
    warmup_s: float = 0.2
    grace_s: float = 1.0
    deadline_s: float | None = None
    tell_deadline: bool = False
    priorities: Mapping[int, float] = field(default_factory=lambda: {NORMAL: 1.0})
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("seconds", "grace_s"):
            if not SHORTEST_S <= getattr(self, name) < math.inf:
                raise MeasurementError(f"{name} must be at least a nanosecond but got {getattr(self, name)}")
        if not 0 <= self.warmup_s < math.inf:
            raise MeasurementError(f"warmup_s must be a number of at least 0 but got {self.warmup_s}")
        if self.deadline_s is not None and not SHORTEST_S <= self.deadline_s < math.inf:
            raise MeasurementError(f"deadline_s must be at least a nanosecond but got {self.deadline_s}")
        if self.tell_deadline and self.deadline_s is None:
            raise MeasurementError("tell_deadline needs a deadline_s to tell")
        shares = list(self.priorities.values())
        if not all(0 <= share < math.inf for share in shares) or not sum(shares) > 0:
            raise MeasurementError(f"shares of priorities must be positive, got {dict(self.priorities)}")

    @property
    def warmup_ns(self) -> int:
        """The warm-up in nanoseconds."""
        return round(self.warmup_s * 1e9)

    @property
    def deadline_ns(self) -> int | None:
        """The deadline in nanoseconds from when a request is due."""
        return None if self.deadline_s is None else round(self.deadline_s * 1e9)
