"""What a choice is judged by: one number per goal, lower is better."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from grandopt.config.schema import Goal
from grandopt.errors import TuningError


@dataclass(frozen=True)
class TrialFigures:
    """What was measured of one choice.

    Median and 99th percentile of the latency of one call in microseconds (`p99_us` is None where there
    were too few samples), observations per second, and memory in MB. `doubt` is the part of the latency that
    may be the disturbance of a short measurement: it may be as low as `latency_us * (1 - doubt)`.
    """

    latency_us: float
    p99_us: float | None
    throughput: float
    memory_mb: float
    doubt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("latency_us", "throughput", "memory_mb"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise TuningError(f"{name} must be a number above 0, got {value}")
        if not 0 <= self.doubt < 1:
            raise TuningError(f"doubt must be at least 0 and below 1, got {self.doubt}")

    @property
    def at_best(self) -> TrialFigures:
        """The same choice had nothing disturbed it, as far as that may be."""
        rest = 1.0 - self.doubt
        tail = None if self.p99_us is None else self.p99_us * rest
        return TrialFigures(self.latency_us * rest, tail, self.throughput / rest, self.memory_mb)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialFigures:
        """The inverse of `to_json`."""
        return cls(**data)


def score(goal: Goal, figures: TrialFigures, reference: TrialFigures) -> float:
    """One number for `figures`, lower is better.

    "latency": the median in microseconds. "throughput": seconds per observation. "memory": MB. "balanced":
    the geometric mean of the three, each as a fraction of the `reference`'s (the original's), so that the
    original scores 1 and halving any one of them counts the same.
    """
    match goal:
        case "latency":
            return figures.latency_us
        case "throughput":
            return 1.0 / figures.throughput
        case "memory":
            return figures.memory_mb
        case "balanced":
            latency = figures.latency_us / reference.latency_us
            throughput = reference.throughput / figures.throughput
            memory = figures.memory_mb / reference.memory_mb
            return math.prod((latency, throughput, memory)) ** (1 / 3)
