"""The speeds of compiled kernels (`compiler/backends/native/speeds.c`) on one thread.

The fastest of many short repetitions counts, because everything that disturbs makes one slower.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator

import numpy as np

from grandopt.measurement.wire.kernels import KernelLibrary, KernelSpeeds, MeasureKernels, Peak, ReadSpeed
from grandopt.signature import Array

PRECISIONS = ("float32", "bfloat16", "int8")

_ALIGNED = 64
_SINK_BYTES = 12 * 64
_SHORT_NS = 200_000  # of one repetition: long beside the clock, short beside what disturbs
_FEWEST = 64
_ROUNDS = 3  # apart from each other: what disturbs one may be gone in the next
_PEAK_MS = 8.0
_READ_MS = 8.0


def kernel_speeds(request: MeasureKernels) -> KernelSpeeds:
    """The speeds of all libraries but those whose instructions the system does not grant."""
    data = _data(request.working_sets[-1])
    peaks: dict[tuple[str, str], Peak] = {}
    reading: dict[tuple[str, int], ReadSpeed] = {}
    opened = [(item, ctypes.CDLL(str(item.path))) for item in request.libraries]
    granted = [(item, library) for item, library in opened if library.permitted()]
    for item, library in granted * _ROUNDS:
        for peak in _peaks(library, item):
            place = (item.instructions, peak.precision)
            peaks[place] = max(peak, peaks.get(place, peak), key=lambda found: found.gop_s)
        for speed in _reading(library, item, request.working_sets, data) if item.reads else ():
            at = (item.instructions, speed.working_set)
            reading[at] = max(speed, reading.get(at, speed), key=lambda found: found.gb_s)
    return KernelSpeeds(tuple(peaks.values()), tuple(reading.values()))


def _peaks(library: ctypes.CDLL, item: KernelLibrary) -> Iterator[Peak]:
    sink = _data(_SINK_BYTES)
    for precision in PRECISIONS:
        kernel = library[precision]
        kernel.argtypes = (ctypes.c_int64, ctypes.c_void_p)
        kernel.restype = None
        operations = ctypes.c_double.in_dll(library, f"{precision}_operations").value

        def call(repeats: int, kernel: Callable[[int, int], None] = kernel) -> None:
            kernel(repeats, sink.ctypes.data)

        repeats = _repeats(call, _FEWEST)
        yield Peak(precision, item.instructions, operations * repeats / _fastest_ns(call, repeats, _PEAK_MS))


def _reading(
    library: ctypes.CDLL, item: KernelLibrary, working_sets: tuple[int, ...], data: Array
) -> Iterator[ReadSpeed]:
    library.reading.argtypes = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    library.reading.restype = None
    step = int(ctypes.c_double.in_dll(library, "reading_bytes").value)
    sink = _data(_SINK_BYTES)
    for size in working_sets:

        def call(steps: int, size: int = size) -> None:
            library.reading(steps, sink.ctypes.data, data.ctypes.data, size)

        steps = _repeats(call, size // step)  # a whole set at least: a part of it lies nearer
        yield ReadSpeed(size, item.instructions, step * steps / _fastest_ns(call, steps, _READ_MS))


def _data(size: int) -> Array:
    """So many bytes at the start of a cache line, all of them written to."""
    whole = np.ones(size + _ALIGNED, dtype=np.uint8)
    start = -whole.ctypes.data % _ALIGNED
    return whole[start : start + size]


def _repeats(call: Callable[[int], None], fewest: int) -> int:
    """How many repeats last long enough to be timed, at least the fewest."""
    repeats = fewest
    while _spent_ns(call, repeats) < _SHORT_NS:
        repeats *= 2
    return repeats


def _fastest_ns(call: Callable[[int], None], repeats: int, budget_ms: float) -> int:
    end = time.perf_counter_ns() + budget_ms * 1e6
    fastest = _spent_ns(call, repeats)
    while time.perf_counter_ns() < end:
        fastest = min(fastest, _spent_ns(call, repeats))
    return fastest


def _spent_ns(call: Callable[[int], None], repeats: int) -> int:
    start = time.perf_counter_ns()
    call(repeats)
    return time.perf_counter_ns() - start
