"""The machine's limit for an agent: what one core needs at least to read the weights and do the arithmetic.

Both speeds are measured with numpy's BLAS on one thread, and the fastest of many repetitions counts, because
everything that disturbs makes it slower. Bandwidth is that of a float32 matrix-vector product, which is what
an agent does with one observation, or of an inner product, whichever reads faster; it is taken for several
working sets, read over and over so that each lies in whatever cache holds it. The peak is that of a square
float32 matrix product.

This is what numpy reached here, not a law of nature: an engine with better kernels, or with reduced-precision
units, can pass it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.process import WorkerProcess
from grandopt.signature import Array

WORKING_SETS = tuple(1 << power for power in (14, 16, 18, 20, 22, 24, 26))  # 16 KiB to 64 MiB

_BYTES_PER_CALL = 8 << 20  # enough that numpy's own cost per call disappears
_READ_MS = 30.0
_PRODUCT_MS = 60.0
_PRODUCT_SIZE = 384
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class MachineLimit:
    """Measured speeds of one core: pairs of working set (bytes) and read speed (10^9 bytes a second) in
    rising order of the working set, and float32 arithmetic (10^9 operations a second)."""

    speeds: tuple[tuple[int, float], ...]
    peak_gflop_s: float

    def bandwidth_gb_s(self, working_set: int) -> float:
        """Read speed for so many bytes used over and over: that of the next larger set that was measured."""
        for size, speed in self.speeds:
            if working_set <= size:
                return speed
        return self.speeds[-1][1]

    def limit_us(self, weight_bytes: int, flop: float) -> float:
        """Least time in µs for a call that reads `weight_bytes` and does `flop` operations: the larger of
        the two, as they overlap. A multiplication and an addition are two operations."""
        reading = weight_bytes / (self.bandwidth_gb_s(weight_bytes) * 1e3)
        return max(reading, flop / (self.peak_gflop_s * 1e3))


def machine_limit() -> MachineLimit:
    """Measure this machine, in a process of its own whose BLAS has one thread; takes under a second.

    Raises MeasurementError when that process fails.
    """
    worker = WorkerProcess(threads=1)
    try:
        answer = worker.ask({"kind": "limit"}, _TIMEOUT_S)
    finally:
        worker.close()
    try:
        speeds = tuple((int(size), float(speed)) for size, speed in answer["speeds"])
        return MachineLimit(speeds, float(answer["peak_gflop_s"]))
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error


def read_speeds() -> list[tuple[int, float]]:
    """Bytes of matrix and the speed of reading it in 10^9 bytes a second; meant for the worker process."""
    return [(size, _read_speed(size)) for size in WORKING_SETS]


def float32_peak() -> float:
    """Speed of a float32 matrix product in 10^9 operations a second; meant for the worker process."""
    left = np.ones((_PRODUCT_SIZE, _PRODUCT_SIZE), dtype=np.float32)
    right, out = left.copy(), np.empty_like(left)
    return 2 * _PRODUCT_SIZE**3 / _fastest_ns(lambda: np.matmul(left, right, out=out), _PRODUCT_MS)


def _read_speed(size: int) -> float:
    repeats = max(1, _BYTES_PER_CALL // size)
    return max(_matrix_speed(size, repeats), _vector_speed(size, repeats))


def _matrix_speed(size: int, repeats: int) -> float:
    columns = 1024 if size > 1 << 20 else 256
    matrix = np.ones((size // 4 // columns, columns), dtype=np.float32)
    # A stack of vectors of one column each: numpy calls the matrix-vector product once per vector, in C.
    vectors = np.ones((repeats, columns, 1), dtype=np.float32)
    out = np.empty((repeats, matrix.shape[0], 1), dtype=np.float32)
    return matrix.nbytes * repeats / _fastest_ns(lambda: np.matmul(matrix, vectors, out=out), _READ_MS)


def _vector_speed(size: int, repeats: int) -> float:
    half = size // 8
    # The same two vectors at every place of the stack: one inner product each.
    left = np.broadcast_to(np.ones((1, half), dtype=np.float32), (repeats, 1, half))
    right = np.broadcast_to(np.ones((half, 1), dtype=np.float32), (repeats, half, 1))
    out = np.empty((repeats, 1, 1), dtype=np.float32)
    return size * repeats / _fastest_ns(lambda: np.matmul(left, right, out=out), _READ_MS)


def _fastest_ns(call: Callable[[], Array], budget_ms: float) -> int:
    clock = time.perf_counter_ns
    end = clock() + budget_ms * 1e6
    call()
    fastest: int | None = None
    while fastest is None or clock() < end:
        start = clock()
        call()
        spent = clock() - start
        fastest = spent if fastest is None else min(fastest, spent)
    return fastest
