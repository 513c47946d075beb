"""The settings of a measurement: how long and how thoroughly every subject of a run is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grandopt.errors import MeasurementError

MIN_WINDOW_CALLS = 50
MIN_ROUNDS = 3
"""Rounds that are played however little time there is: as many as it takes to tell whether they agree."""

MOST_PROCESSES = 6
"""In so many processes is measured, where there is time, what three do not tell well enough."""


@dataclass(frozen=True)
class MeasurementSettings:
    """One way of measuring, the same for every subject of a run. The defaults are those of `release`.

    `threads`: how many each call may use; every subject is loaded with this number. `batch`: observations
    per call. `seed`: of the order of the subjects and of the bootstrap. `processes`: fresh address spaces,
    one after the other, because memory layout alone moves a figure.

    A window is at least `window_calls` calls and lasts about `window_ms`. A subject is measured for
    `rounds` windows in each process, or for fewer when `max_seconds` is up: that is the time for the
    repeated calls of one subject, warm-up included, over all processes together. Loading and the first
    call come on top. 45 rounds of 50 calls in 3 processes are enough calls for a p99.9. With `into` calls go
    through `run_into`, with outputs that the caller has.
    """

    threads: int = 1
    batch: int = 1
    seed: int = 0
    window_calls: int = MIN_WINDOW_CALLS
    window_ms: float = 10.0
    rounds: int = 45
    max_seconds: float = 12.0
    processes: int = 3
    into: bool = False

    def __post_init__(self) -> None:
        least = {
            "threads": 1,
            "batch": 1,
            "seed": 0,
            "window_calls": MIN_WINDOW_CALLS,
            "rounds": MIN_ROUNDS,
            "processes": 1,
        }
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise MeasurementError(f"{name} must be at least {minimum} but got {getattr(self, name)}")
        for name in ("window_ms", "max_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise MeasurementError(f"{name} must be a positive number but got {getattr(self, name)}")

    @classmethod
    def release(cls, **changes: Any) -> MeasurementSettings:
        """For figures that are published or decide what is shipped: three processes, up to 12 s a subject."""
        return cls(**changes)

    @classmethod
    def quick(cls, **changes: Any) -> MeasurementSettings:
        """For putting candidates in order: one process, up to 1.5 s a subject."""
        return cls(**{"window_ms": 5.0, "rounds": 12, "max_seconds": 1.5, "processes": 1, **changes})

    @property
    def seconds_per_process(self) -> float:
        """Time for the repeated calls of one subject in one process."""
        return self.max_seconds / self.processes
