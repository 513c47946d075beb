"""The speed of one core, as numpy's BLAS on one thread reaches it: reading, and float32 arithmetic.

The fastest of many repetitions counts, because everything that disturbs makes it slower. Reading is that of a
float32 matrix-vector product, which is what an agent does with one observation, or of an inner product,
whichever reads faster; each working set is read over and over so that it lies in whatever cache holds it.
Arithmetic is that of a square float32 matrix product.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from grandopt.measurement.wire.limit import MachineSpeeds, MeasureSpeeds
from grandopt.signature import Array

_BYTES_PER_CALL = 8 << 20  # enough that numpy's own cost per call disappears
_READ_MS = 30.0
_PRODUCT_MS = 60.0
_PRODUCT_SIZE = 384


def measured_speeds(request: MeasureSpeeds) -> MachineSpeeds:
    """The speeds of reading the working sets, and of multiplying."""
    speeds = tuple((size, _read_speed(size)) for size in request.working_sets)
    return MachineSpeeds(speeds, _float32_peak())


def _float32_peak() -> float:
    """Speed of a float32 matrix product in 10^9 operations a second."""
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
