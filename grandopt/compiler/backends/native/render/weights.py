"""All constants of an agent as one block of bytes, each array aligned; equal arrays are stored once."""

from __future__ import annotations

import hashlib

import numpy as np

from grandopt.compiler.backends.native.memory import ALIGNMENT
from grandopt.signature import Array

PANEL = 64
"""Columns of a weight panel: 4 AVX-512, 8 AVX2 or 16 NEON registers."""
GRANULE = 16
"""The last panel is this wide, or a multiple: one AVX-512 register."""


class Weights:
    """Grows while code is rendered; C text refers to arrays by their offset."""

    def __init__(self) -> None:
        self._offsets: dict[tuple[str, bytes], int] = {}
        self._blocks: list[bytes] = []
        self._size = 0

    def pointer(self, array: Array) -> str:
        """The array's address as C text."""
        data = np.ascontiguousarray(array).tobytes()
        key = (array.dtype.name, hashlib.sha256(data).digest())
        if key not in self._offsets:
            self._offsets[key] = self._size
            padding = -len(data) % ALIGNMENT
            self._blocks.append(data + bytes(padding))
            self._size += len(data) + padding
        return f"weights + {self._offsets[key]}"

    def content(self) -> bytes:
        """The bytes; one padded block at least, so that the symbol exists."""
        return b"".join(self._blocks) or bytes(ALIGNMENT)


def panels(weight: Array) -> Array:
    """[N, K] as panels of PANEL columns, each [K, columns], one after another; missing columns are zero."""
    count, depth = weight.shape
    blocks = []
    for start in range(0, count, PANEL):
        part = weight[start : start + PANEL]
        width = min(PANEL, -(-part.shape[0] // GRANULE) * GRANULE)
        block = np.zeros((depth, width), weight.dtype)
        block[:, : part.shape[0]] = part.T
        blocks.append(block.reshape(-1))
    return np.concatenate(blocks)


def padded(vector: Array, multiple: int = PANEL) -> Array:
    """The vector, zeros appended up to a multiple."""
    return np.pad(vector, (0, -vector.size % multiple))
