"""The machine's limit for an agent: what a call needs at least to read the weights and do the arithmetic.

Both speeds are those of kernels that do nothing else, compiled for each instruction set that the CPU has (see
`compiler/backends/native/speeds.c`), so no agent can be faster: one that is shows that the limit is wrong.
Without a compiler they are what numpy's BLAS reaches in float32, which an engine with better kernels can
pass; `source` says which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from grandopt.measurement.caches import Place, places
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.wire.kernels import KernelLibrary, KernelSpeeds, MeasureKernels, Peak
from grandopt.measurement.wire.limit import MeasureSpeeds

Source = Literal["kernels", "float32 BLAS"]
KERNELS: Source = "kernels"
BLAS: Source = "float32 BLAS"

_BLAS = "numpy's BLAS"
_KINDS = {"int8_dynamic": "int8", "int8_static": "int8", "mixed": "int8"}
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0}
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class CacheSpeed:
    """A cache or memory: its name, the bytes that it holds (None: all), and the speed at which one core reads
    from it (10^9 bytes a second) by an instruction set."""

    name: str
    size: int | None
    gb_s: float
    instructions: str


@dataclass(frozen=True)
class AgentLimit:
    """The least µs of a call on so many threads, and what sets it.

    `bound` is "reading" the weights, then from `cache` and those inside of it, or "arithmetic", then at
    `precision`, by `instructions`. `speed` is that of all threads together in 10^9 bytes or operations a
    second.
    """

    us: float
    bound: Literal["reading", "arithmetic"]
    precision: str
    instructions: str
    cache: str | None
    speed: float
    threads: int
    source: Source


@dataclass(frozen=True)
class MachineLimit:
    """The speeds of one core: reading from each cache, innermost first and memory last, and arithmetic."""

    caches: tuple[CacheSpeed, ...]
    peaks: tuple[Peak, ...]
    source: Source = KERNELS

    def agent(
        self, weights: int, weight_bytes: int, flop: float, precision: str, threads: int = 1
    ) -> AgentLimit:
        """The limit of a call that reads so many weights, of `weight_bytes` as they came, and does `flop`
        operations (an addition and a multiplication are two): the larger of both times, as they overlap.

        At a reduced precision all weights count as reduced, though a build may keep some. `threads` share the
        work, each with caches of its own.
        """
        kind = _KINDS.get(precision, precision)
        reduced = min(float(weight_bytes), weights * _BYTES.get(kind, float("inf")))
        read = reduced / threads
        reading, cache = self._reading_us(read)
        peak = self.peak(kind)
        computing = flop / threads / (peak.gop_s * 1e3)
        if reading >= computing:
            speed = reduced / (reading * 1e3) if reading else cache.gb_s * threads
            return AgentLimit(
                reading, "reading", precision, cache.instructions, cache.name, speed, threads, self.source
            )
        speed = peak.gop_s * threads
        return AgentLimit(
            computing, "arithmetic", precision, peak.instructions, None, speed, threads, self.source
        )

    def peak(self, kind: str) -> Peak:
        """The fastest arithmetic for weights of a kind. Float32's counts for all: a weight that is widened
        once may be used several times."""
        able = [peak for peak in self.peaks if peak.precision in (kind, "float32")]
        return max(able, key=lambda peak: peak.gop_s)

    def _reading_us(self, size: float) -> tuple[float, CacheSpeed]:
        """The least time to read so many bytes that are read in every call, and the outermost place of any.

        Each cache keeps as many of them as it can: what does not fit comes from farther away.
        """
        us, held, last = 0.0, 0.0, self.caches[0]
        for cache in self.caches:
            part = size - held
            if cache.size is not None and cache is not self.caches[-1]:
                part = min(part, cache.size - held)
            if part > 0:
                us, held, last = us + part / (cache.gb_s * 1e3), held + part, cache
        return us, last


def kernel_limit(libraries: Sequence[KernelLibrary]) -> MachineLimit:
    """Measure this machine by compiled kernels, in a process of its own; takes half a second.

    Raises MeasurementError when that process fails.
    """
    found = places()
    sets = tuple(sorted({place.working_set for place in found}))
    with closing(WorkerProcess(threads=1)) as worker:
        speeds = worker.ask(MeasureKernels(tuple(libraries), sets), _TIMEOUT_S)
    return MachineLimit(cache_speeds(found, speeds), speeds.peaks)


def cache_speeds(found: Sequence[Place], speeds: KernelSpeeds) -> tuple[CacheSpeed, ...]:
    """The fastest reading from each place. A nearer one is no slower than those behind it: what was measured
    of it while something disturbed is not what it can do."""
    nearest: list[CacheSpeed] = []
    for place in reversed(found):
        best = max(
            (speed for speed in speeds.reading if speed.working_set == place.working_set),
            key=lambda speed: speed.gb_s,
        )
        behind = nearest[0].gb_s if nearest else 0.0
        nearest.insert(0, CacheSpeed(place.name, place.size, max(best.gb_s, behind), best.instructions))
    return tuple(nearest)


def blas_limit() -> MachineLimit:
    """The same by numpy's BLAS in float32, for a machine without a compiler; takes under a second.

    Raises MeasurementError when that process fails.
    """
    found = places(folder=None)
    with closing(WorkerProcess(threads=1)) as worker:
        answer = worker.ask(MeasureSpeeds(tuple(place.working_set for place in found)), _TIMEOUT_S)
    caches = tuple(
        CacheSpeed(place.name, place.size, speed, _BLAS)
        for place, (_, speed) in zip(found, answer.speeds, strict=True)
    )
    return MachineLimit(caches, (Peak("float32", _BLAS, answer.peak_gflop_s),), BLAS)
