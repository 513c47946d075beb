"""The requests for subjects timed in turns: all at once, or round by round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Done, Request
from grandopt.measurement.wire.loadable import Loadable, miscounted


@dataclass(frozen=True)
class SubjectTimings:
    """One subject in one process; `calls` and `blocks` are files of raw samples, see `ProcessSamples`."""

    calls: Path
    blocks: Path
    block_calls: int
    load_ns: int
    first_call_ns: int
    calls_to_stable: int | None
    cpu_ns: int
    cpu_calls: int


@dataclass(frozen=True)
class Timings:
    """All subjects of one process, in the order of the request."""

    timer_overhead_ns: float
    subjects: tuple[SubjectTimings, ...]


@dataclass(frozen=True)
class Measure(Request[Timings], kind="measure"):
    """Time the subjects in turns; samples are written into `folder`."""

    subjects: tuple[Loadable, ...]
    ring: Paths
    settings: MeasurementSettings
    folder: Path
    seed: str

    def misfit(self, answer: Timings) -> str | None:
        return miscounted(self.subjects, answer.subjects)


@dataclass(frozen=True)
class RoundsBegun:
    """What a round of all subjects will take, and the time that is left for rounds."""

    round_ns: float
    left_ns: float


@dataclass(frozen=True)
class BeginRounds(Request[RoundsBegun], kind="begin"):
    """Load and warm up the subjects of a measurement whose rounds the parent calls for, one by one."""

    subjects: tuple[Loadable, ...]
    ring: Paths
    settings: MeasurementSettings
    seed: str


@dataclass(frozen=True)
class PlayRound(Request[Done], kind="round"):
    """Let every subject that was begun play once."""


@dataclass(frozen=True)
class EndRounds(Request[Timings], kind="end"):
    """Close the `count` subjects; samples are written into `folder`, under names that hold `prefix`."""

    folder: Path
    prefix: str
    count: int

    def misfit(self, answer: Timings) -> str | None:
        return miscounted(range(self.count), answer.subjects)
