"""Memory on loan."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any, Generic, Protocol, TypeVar

from grandopt.errors import MemoryPoolError

V = TypeVar("V")
G = TypeVar("G", contravariant=True)
Place = tuple[CodeType, int]


class Piece:
    """A block, as its pool keeps it: of `dtype`, with room for `elements`, `size` bytes in all.

    `pooled` says whether it is worth keeping; `place` is the code and line where its last lease was taken.
    """

    __slots__ = ("block", "dtype", "elements", "place", "pooled", "size")

    def __init__(self, block: Any, dtype: str, elements: int, size: int, pooled: bool, place: Place) -> None:
        self.block = block
        self.dtype = dtype
        self.elements = elements
        self.size = size
        self.pooled = pooled
        self.place = place

    @property
    def where(self) -> str:
        """File and line of `place`."""
        code, line = self.place
        return f"{code.co_filename}:{line}"


@dataclass(frozen=True)
class Leak:
    """A lease that was dropped without being returned: where it was taken, its bytes, and for how long it was
    out, in seconds until it was found."""

    place: str
    size: int
    seconds: float


class Lender(Protocol[G]):
    """What a lease needs of the pool that made it."""

    def give_back(self, piece: Piece, value: G) -> None: ...

    def lost(self, piece: Piece, since: float) -> None: ...


class BufferLease(Generic[V]):
    """Memory on loan from a pool, returned by `give_back` or at the end of a `with` block.

    ::

        with pool.lease((32, 152), "float32") as batch:
            ...

    Any thread may return it, once. A lease that is dropped without being returned is a leak: its pool counts
    it and says where it was taken. Its memory lives on as long as anything uses it, and is not lent again.
    """

    __slots__ = ("__weakref__", "_lender", "_piece", "_since", "_turn", "_value")

    def __init__(self, lender: Lender[V], piece: Piece, value: V, clock: Callable[[], float]) -> None:
        self._lender = lender
        self._piece: Piece | None = piece
        self._value: V | None = value
        self._since = clock()
        self._turn = threading.Lock()

    @property
    def value(self) -> V:
        """The array, buffer or tensor; raises MemoryPoolError after the return."""
        value = self._value
        if value is None:
            raise MemoryPoolError("this lease was returned; take another one from the pool")
        return value

    def give_back(self) -> None:
        """Return the memory; raises MemoryPoolError when it was returned before."""
        with self._turn:
            piece, value = self._piece, self._value
            self._piece = self._value = None
        if piece is None or value is None:
            raise MemoryPoolError("this lease was returned before; return each lease once")
        self._lender.give_back(piece, value)

    def __enter__(self) -> V:
        return self.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A lease that the block itself returned must not hide the exception that ended the block.
        if error is None or self._piece is not None:
            self.give_back()

    def __del__(self) -> None:
        piece = getattr(self, "_piece", None)
        if piece is not None:
            self._lender.lost(piece, self._since)
