"""The request for the memory of subjects that are held together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable, miscounted


@dataclass(frozen=True)
class ResidentMemory:
    """The outputs of each subject, and the bytes that the process holds (see `Residence`)."""

    outputs: tuple[Paths, ...]
    rss: int
    pss: int
    uss: int


@dataclass(frozen=True)
class HoldResidence(Request[ResidentMemory], kind="residence"):
    """Load all subjects, let each answer its inputs row by row, `passes` times, and look at the memory."""

    subjects: tuple[Loadable, ...]
    inputs: tuple[Paths, ...]
    passes: int
    folder: Path
    threads: int

    def misfit(self, answer: ResidentMemory) -> str | None:
        return miscounted(self.subjects, answer.outputs)
