"""Blocks shown as raw bytes."""

from __future__ import annotations

import contextlib

import numpy as np

from grandopt.runtime.memory.blocks.host import HostBlock, HostBlocks

RAW = "bytes"


class BufferBlocks(HostBlocks[memoryview]):
    """Writeable memoryviews of bytes, whose only dtype is "bytes". After its return any use of one raises
    ValueError, unless an array or another consumer still looks through it."""

    kind = "buffer"

    def item_bytes(self, dtype: str) -> int:
        if dtype != RAW:
            raise self._unknown(dtype, (RAW,))
        return 1

    def show(self, block: HostBlock, dtype: str, shape: tuple[int, ...]) -> memoryview:
        flat = self._stretch(block, dtype, shape).data
        return flat if len(shape) == 1 else flat.cast("B", shape)

    def end(self, value: memoryview) -> None:
        with contextlib.suppress(BufferError):  # looked through by an array: the pool waits for that one
            value.release()

    def fresh(self, dtype: str, shape: tuple[int, ...]) -> memoryview:
        return np.empty(shape, np.uint8).data

    def write(self, value: memoryview) -> None:
        np.frombuffer(value, np.uint8).fill(1)
