"""Returned memory that waits to be lent again."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from grandopt.runtime.memory.lease import Piece

LOOKS = 8
"""Pieces of a bucket that may be seen from outside before the oldest of them is forgotten."""
Key = tuple[str, int]


class FreeList:
    """Pieces in buckets by dtype and room, in the order of their return. Not thread-safe: its pool locks.

    `is_seen` tells of a piece whether anybody still looks at its memory; such a piece is not taken.
    """

    def __init__(self, is_seen: Callable[[Piece], bool]) -> None:
        self._is_seen = is_seen
        self._buckets: dict[Key, deque[Piece]] = {}
        self._order: OrderedDict[Piece, None] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._order)

    def add(self, piece: Piece) -> None:
        """Keep a piece; it was used last."""
        self._buckets.setdefault((piece.dtype, piece.elements), deque()).append(piece)
        self._order[piece] = None
        self.size += piece.size

    def take(self, dtype: str, elements: int) -> Piece | None:
        """The piece of that bucket that was returned last and that nobody sees; None without one."""
        bucket = self._buckets.get((dtype, elements))
        for piece in reversed(bucket or ()):
            if not self._is_seen(piece):
                self._remove(piece)
                return piece
        return None

    def crowded(self, dtype: str, elements: int) -> Piece | None:
        """Remove the oldest piece of a bucket whose pieces are all seen, where there are LOOKS of them.

        Called after `take` found none. It bounds how many pieces `take` has to look at.
        """
        bucket = self._buckets.get((dtype, elements))
        if bucket is None or len(bucket) < LOOKS:
            return None
        piece = bucket[0]
        self._remove(piece)
        return piece

    def oldest(self) -> Piece | None:
        """Remove and return the piece whose last use is the longest ago."""
        if not self._order:
            return None
        piece = next(iter(self._order))
        self._remove(piece)
        return piece

    def pieces(self) -> Iterator[Piece]:
        """All of them, the least recently used first."""
        return iter(self._order)

    def _remove(self, piece: Piece) -> None:
        del self._order[piece]
        self.size -= piece.size
        key = (piece.dtype, piece.elements)
        bucket = self._buckets[key]
        bucket.remove(piece)
        if not bucket:
            del self._buckets[key]
