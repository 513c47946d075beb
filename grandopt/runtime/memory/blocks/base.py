"""The contract of what a pool hands out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from grandopt.errors import MemoryPoolError

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register of AVX-512."""

V = TypeVar("V")


class Blocks(ABC, Generic[V]):
    """One kind of memory on one device: makes blocks, and shows each as values of type V.

    Thread safety: any thread may call any method; a block is used by one thread at a time, which its pool
    sees to. Ownership: the pool owns a block; a value that `show` made keeps the block's memory alive by
    itself, so a pool may forget a block at any time.
    """

    kind: ClassVar[str]
    device: str = "cpu"

    @abstractmethod
    def item_bytes(self, dtype: str) -> int:
        """Bytes of one element; raises MemoryPoolError for a dtype that this kind does not have."""

    @abstractmethod
    def allocate(self, size: int) -> Any:
        """A new block of `size` bytes, not initialised, its address a multiple of ALIGNMENT.

        Raises MemoryPoolError when the system has no such block.
        """

    @abstractmethod
    def show(self, block: Any, dtype: str, shape: tuple[int, ...]) -> V:
        """A value over the first bytes of the block."""

    @abstractmethod
    def end(self, value: V) -> None:
        """Make a value of `show` unusable for writing, as far as its kind can."""

    @abstractmethod
    def is_seen(self, block: Any) -> bool:
        """Whether any value over the block's memory is still alive: one of `show`, or a view of one."""

    @abstractmethod
    def fill(self, block: Any, byte: int) -> None:
        """Write `byte` to every place of the block."""

    @abstractmethod
    def holds_only(self, block: Any, byte: int) -> bool:
        """Whether every place of the block still has `byte`."""

    @abstractmethod
    def fresh(self, dtype: str, shape: tuple[int, ...]) -> V:
        """What a caller without a pool would allocate: what every pool is measured against."""

    @abstractmethod
    def write(self, value: V) -> None:
        """Write every element of a value, as fast as this kind can: what is measured beside `fresh`."""

    def _unknown(self, dtype: str, known: tuple[str, ...]) -> MemoryPoolError:
        return MemoryPoolError(
            f"{self.kind}s of dtype {dtype!r} are unknown; choose one of {', '.join(known)}"
        )
