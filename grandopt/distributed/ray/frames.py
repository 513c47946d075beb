"""Arrays of a batch as the bytes of one call.

Ray hands bytes over as they are; arrays it would pickle, one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grandopt.errors import ServingError
from grandopt.signature import Array, TensorSpec

ALIGNMENT = 16
"""Bytes; that of every bytes object, and enough for all dtypes."""


class Frame:
    """How the arrays [rows, *shape] of these tensors lie one after the other; both sides work it out."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._kinds = [(spec.shape, np.dtype(spec.dtype), math.prod(spec.shape)) for spec in specs]
        self._row_bytes = [elements * dtype.itemsize for _, dtype, elements in self._kinds]

    def packed(self, arrays: Sequence[Array]) -> bytes:
        """The bytes of C-contiguous arrays [rows, *shape] of exactly the declared dtypes."""
        if len(arrays) == 1:
            return arrays[0].tobytes()
        parts: list[bytes] = []
        for array, row_bytes in zip(arrays, self._row_bytes, strict=True):
            parts += array.tobytes(), bytes(-len(array) * row_bytes % ALIGNMENT)
        return b"".join(parts)

    def unpacked(self, data: bytes, rows: int) -> list[Array]:
        """The arrays [rows, *shape], read-only views of `data`; raises ServingError for another length."""
        sizes = [rows * each for each in self._row_bytes]
        whole = sizes[0] if len(sizes) == 1 else sum(size + -size % ALIGNMENT for size in sizes)
        if rows < 1 or len(data) != whole:
            raise ServingError(
                f"{len(data)} bytes came for {rows} rows, which have {whole}: both sides must serve one agent"
            )
        found, at = list[Array](), 0
        for (shape, dtype, elements), size in zip(self._kinds, sizes, strict=True):
            found.append(np.frombuffer(data, dtype, rows * elements, at).reshape(rows, *shape))
            at += size + -size % ALIGNMENT
        return found
