"""What is measured: an artifact, a configuration, and the load on it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Value


@dataclass(frozen=True)
class ServingLoad:
    """The load that configurations are judged under, the same for all of them.

    Without `rate`, `callers` ask at once, each again as soon as it has its answer: this shows how much the
    service can do. With `rate`, requests come at random moments (Poisson), so many a second, whether answered
    or not, and their latency counts from the moment at which they were due. Each run lasts `seconds` after
    `warmup_s`. `deadline_s` is what goodput counts by. Raises ConfigError for numbers that cannot be.
    """

    callers: int = 64
    rate: float | None = None
    seconds: float = 2.0
    warmup_s: float = 0.5
    deadline_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.callers < 1:
            raise ConfigError(f"callers must be at least 1, got {self.callers}")
        for name in ("rate", "seconds", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a positive number, got {value}")
        if not 0 <= self.warmup_s < math.inf:
            raise ConfigError(f"warmup_s must be at least 0, got {self.warmup_s}")


@dataclass(frozen=True)
class ServingTask:
    """All that the process is told. `configuration` is complete, by the names of `SERVING`."""

    artifact: str
    configuration: dict[str, Value]
    load: ServingLoad
    profile: str
    samples: str | None
    trust: bool
    threads: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ServingTask:
        """The inverse of `to_json`."""
        return cls(**{**data, "load": ServingLoad(**data["load"])})
