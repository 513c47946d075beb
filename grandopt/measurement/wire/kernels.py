"""The request for the speeds of kernels that were compiled for this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.wire.codec import Request


@dataclass(frozen=True)
class KernelLibrary:
    """A shared library of kernels and the instruction set that it is compiled for. `reads` is whether its
    reading is to be timed as well: libraries with vectors of one length read alike."""

    instructions: str
    path: Path
    reads: bool


@dataclass(frozen=True)
class Peak:
    """Arithmetic of one core: 10^9 operations a second at a precision, by an instruction set."""

    precision: str
    instructions: str
    gop_s: float


@dataclass(frozen=True)
class ReadSpeed:
    """Read speed of one core in 10^9 bytes a second, for a set of so many bytes read over and over."""

    working_set: int
    instructions: str
    gb_s: float


@dataclass(frozen=True)
class KernelSpeeds:
    """What all libraries reached that this process may run."""

    peaks: tuple[Peak, ...]
    reading: tuple[ReadSpeed, ...]


@dataclass(frozen=True)
class MeasureKernels(Request[KernelSpeeds], kind="kernels"):
    """Time the kernels of these libraries, and reading of these working sets: powers of two, rising."""

    libraries: tuple[KernelLibrary, ...]
    working_sets: tuple[int, ...]
