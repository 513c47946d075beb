"""The requests of an executor whose subject is in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Done, Request
from grandopt.measurement.wire.loadable import Loadable


@dataclass(frozen=True)
class OpenSubject(Request[Done], kind="open"):
    """Open one subject, which `CallSubject` calls."""

    subject: Loadable
    threads: int


@dataclass(frozen=True)
class CallOutputs:
    """The outputs of a call."""

    outputs: Paths


@dataclass(frozen=True)
class CallSubject(Request[CallOutputs], kind="call"):
    """Call the subject that is open; its outputs are written into `folder`."""

    inputs: Paths
    folder: Path
