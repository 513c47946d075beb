"""Blocks shown as NumPy arrays."""

from __future__ import annotations

import numpy as np

from grandopt.runtime.memory.blocks.host import HostBlock, HostBlocks
from grandopt.signature import DTYPES, Array

KNOWN = tuple(sorted({*DTYPES, "uint16", "uint32", "uint64", "complex64", "complex128"}))


class ArrayBlocks(HostBlocks[Array]):
    """C-contiguous NumPy arrays. After its return an array can no longer be written through."""

    kind = "array"

    def item_bytes(self, dtype: str) -> int:
        if dtype not in KNOWN:
            raise self._unknown(dtype, KNOWN)
        return np.dtype(dtype).itemsize

    def show(self, block: HostBlock, dtype: str, shape: tuple[int, ...]) -> Array:
        return self._stretch(block, dtype, shape).view(dtype).reshape(shape)

    def end(self, value: Array) -> None:
        value.flags.writeable = False

    def fresh(self, dtype: str, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, dtype)

    def write(self, value: Array) -> None:
        value.fill(1)
