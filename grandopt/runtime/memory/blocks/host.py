"""Blocks in the memory of the process, held by NumPy."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from typing import TypeVar

import numpy as np

from grandopt.errors import MemoryPoolError
from grandopt.runtime.memory.blocks.base import ALIGNMENT, Blocks
from grandopt.signature import Array

V = TypeVar("V")


class HostBlock:
    """An aligned stretch of an array that owns its memory.

    NumPy makes every view, and every view of a view, refer to the array that owns the memory; so that array's
    reference count tells whether anything but the block sees it.
    """

    __slots__ = ("_alone", "_owner", "data")

    def __init__(self, size: int) -> None:
        self._owner = np.empty(size + ALIGNMENT - 1, np.uint8)
        first = -self._owner.ctypes.data % ALIGNMENT
        self.data = self._owner[first : first + size]
        self._alone = sys.getrefcount(self._owner)

    @property
    def seen(self) -> bool:
        """Whether a view of the memory is alive."""
        return sys.getrefcount(self._owner) > self._alone


class HostBlocks(Blocks[V]):
    """What the kinds in the memory of the process have in common."""

    def allocate(self, size: int) -> HostBlock:
        try:
            return HostBlock(size)
        except MemoryError as error:
            raise MemoryPoolError(f"the system has no {size} bytes for a pool of {self.kind}s") from error

    @abstractmethod
    def show(self, block: HostBlock, dtype: str, shape: tuple[int, ...]) -> V: ...

    def is_seen(self, block: HostBlock) -> bool:
        return block.seen

    def fill(self, block: HostBlock, byte: int) -> None:
        block.data.fill(byte)

    def holds_only(self, block: HostBlock, byte: int) -> bool:
        return bool((block.data == byte).all())

    def _stretch(self, block: HostBlock, dtype: str, shape: tuple[int, ...]) -> Array:
        """The first bytes of the block as an array object of its own, [bytes]."""
        return block.data[: self.item_bytes(dtype) * math.prod(shape)]
