"""The request to count instructions. It reaches its program as a file, and is not answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Done, Request
from grandopt.measurement.wire.loadable import Loadable

COUNTED_FUNCTION = "PyNumber_InPlaceMatrixMultiply"
"""The C function of the operator `@=`, in which the calls of `CountCalls` are made and nothing else is."""


@dataclass(frozen=True)
class CountCalls(Request[Done], kind="count"):
    """Let a tool count the instructions of `calls` calls; perf is switched on for them by its two `pipes`."""

    subject: Loadable
    ring: Paths
    threads: int
    calls: int
    pipes: tuple[Path, Path] | None
