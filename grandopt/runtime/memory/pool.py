"""A pool of memory of one kind on one device."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from grandopt.errors import ConfigError, MemoryPoolError
from grandopt.runtime.memory.blocks.base import Blocks
from grandopt.runtime.memory.break_even import PoolBreakEven
from grandopt.runtime.memory.free_list import FreeList
from grandopt.runtime.memory.lease import BufferLease, Leak, Piece

LEAST = 16
"""Elements of the smallest bucket."""
POISON = 0xDB
"""What a pool in debug mode writes over returned memory."""
LAST_LEAKS = 64
"""Leaks that are kept with their place; older ones are only counted."""

V = TypeVar("V")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BucketStats:
    """Returned memory of one dtype with room for `elements`: how many pieces, and their bytes."""

    dtype: str
    device: str
    elements: int
    pieces: int
    bytes: int


@dataclass(frozen=True)
class PoolStats:
    """What a pool has done and holds, in bytes where a name says so.

    `reused` leases got memory that was there, `allocated` ones new memory that is kept, `unpooled` ones
    memory below the size from which the pool pays. `trimmed` pieces were let go for the limit, `seen` ones
    because something outside looked at their memory long after the return; `viewed` are the places of the
    leases whose memory is still looked at now, although they were returned. `overwritten` counts, in debug
    mode, pieces that were written to after their return. `break_even` is what was decided, and why.
    """

    kind: str
    device: str
    limit_bytes: int
    leased_bytes: int
    idle_bytes: int
    leases: int
    reused: int
    allocated: int
    unpooled: int
    trimmed: int
    seen: int
    viewed: tuple[str, ...]
    overwritten: int
    leaked: int
    leaked_bytes: int
    leaks: tuple[Leak, ...]
    buckets: tuple[BucketStats, ...]
    break_even: PoolBreakEven


class Pool(Generic[V]):
    """Lends memory and keeps what comes back, in buckets of 16, 32, 64 … elements per dtype.

    Thread safety: any thread may call any method. The bytes of all leases and of what is kept never exceed
    `limit_bytes`; where a lease needs room, what was returned the longest ago goes first. Two leases never
    share memory, and memory is not lent again while anything still looks at it, also where a caller kept a
    view beyond the return. Every lease is aligned to 64 bytes and not initialised. Below the size from which
    `break_even` says that it pays, memory is lent in the same way but not kept.

    With `debug`, returned memory is overwritten, and whoever writes to it afterwards is found at the next
    lease of it. `clock` gives seconds. Raises ConfigError for a limit that is not positive.
    """

    def __init__(
        self,
        blocks: Blocks[V],
        limit_bytes: int,
        break_even: PoolBreakEven,
        *,
        debug: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(limit_bytes, bool) or not isinstance(limit_bytes, int) or limit_bytes < 1:
            raise ConfigError(f"a pool needs room: its limit must be at least 1 byte, got {limit_bytes!r}")
        self._blocks = blocks
        self._limit = limit_bytes
        self._break_even = break_even
        self._debug = debug
        self._clock = clock
        self._lock = threading.Lock()
        self._idle = FreeList(lambda piece: blocks.is_seen(piece.block))
        self._lost: deque[tuple[Piece, float]] = deque()
        self._leaks: deque[Leak] = deque(maxlen=LAST_LEAKS)
        self._closed = False
        self._leased = self._leases = self._leaked = self._leaked_bytes = 0
        self._reused = self._allocated = self._unpooled = 0
        self._trimmed = self._seen = self._overwritten = 0

    def lease(self, shape: int | tuple[int, ...], dtype: str) -> BufferLease[V]:
        """Memory for one value of that shape and dtype, until it is returned.

        Raises MemoryPoolError for an unknown dtype, a shape that is none, or a closed pool, and when the
        leases that are out leave no room below the limit.
        """
        dimensions = _checked(shape)
        item = self._blocks.item_bytes(dtype)
        count = math.prod(dimensions)
        room = max(LEAST, 1 << (count - 1).bit_length())
        pooled = self._break_even.pays(count * item)
        elements = room if pooled else count
        size = elements * item
        frame = sys._getframe(1)
        place = (frame.f_code, frame.f_lineno)
        with self._lock:
            self._settle()
            piece = self._idle.take(dtype, elements) if pooled and not self._closed else None
            if piece is None:
                self._make_room(size, dtype, elements)
            else:
                self._reused += 1
            self._leased += size
            self._leases += 1
        # Without the lock: the system may have to find pages, and poison may have to be looked at.
        try:
            if piece is None or not self._is_sound(piece):
                block = self._blocks.allocate(size)
                piece = Piece(block, dtype, elements, size, pooled, place)
            else:
                piece.place = place
            value = self._blocks.show(piece.block, dtype, dimensions)
        except BaseException:
            with self._lock:
                self._leased -= size
                self._leases -= 1
            raise
        return BufferLease(self, piece, value, self._clock)

    def give_back(self, piece: Piece, value: V) -> None:
        """A lease's way home; users call `BufferLease.give_back`."""
        self._blocks.end(value)
        del value
        if self._debug and piece.pooled:
            self._blocks.fill(piece.block, POISON)
        with self._lock:
            self._settle()
            self._leased -= piece.size
            self._leases -= 1
            if piece.pooled and not self._closed:
                self._idle.add(piece)

    def lost(self, piece: Piece, since: float) -> None:
        """A lease was dropped: noted without the lock, because finalizers run anywhere, also below it."""
        self._lost.append((piece, since))

    def trim(self, keep_bytes: int = 0) -> int:
        """Let go of returned memory, the least recently used first, until `keep_bytes` of it are left.

        Returns the bytes that were let go; raises ConfigError for a negative number.
        """
        if keep_bytes < 0:
            raise ConfigError(f"cannot keep {keep_bytes} bytes; name 0 or more")
        with self._lock:
            before = self._idle.size
            self._trim(keep_bytes)
            return before - self._idle.size

    def close(self) -> None:
        """Let go of all returned memory and lend no more. Leases that are out may still be returned."""
        with self._lock:
            self._closed = True
            self._trim(0)

    def stats(self) -> PoolStats:
        """What the pool has done and holds now; leaks that were not yet counted are counted first."""
        with self._lock:
            self._settle()
            buckets: dict[tuple[str, int], tuple[int, int]] = {}
            for piece in self._idle.pieces():
                pieces, size = buckets.get((piece.dtype, piece.elements), (0, 0))
                buckets[piece.dtype, piece.elements] = (pieces + 1, size + piece.size)
            return PoolStats(
                kind=self._blocks.kind,
                device=self._blocks.device,
                limit_bytes=self._limit,
                leased_bytes=self._leased,
                idle_bytes=self._idle.size,
                leases=self._leases,
                reused=self._reused,
                allocated=self._allocated,
                unpooled=self._unpooled,
                trimmed=self._trimmed,
                seen=self._seen,
                viewed=tuple(
                    piece.where for piece in self._idle.pieces() if self._blocks.is_seen(piece.block)
                ),
                overwritten=self._overwritten,
                leaked=self._leaked,
                leaked_bytes=self._leaked_bytes,
                leaks=tuple(self._leaks),
                buckets=tuple(
                    BucketStats(dtype, self._blocks.device, elements, *held)
                    for (dtype, elements), held in sorted(buckets.items())
                ),
                break_even=self._break_even,
            )

    def _make_room(self, size: int, dtype: str, elements: int) -> None:
        if self._closed:
            raise MemoryPoolError("this pool is closed; make another one")
        if self._leased + size > self._limit:
            raise MemoryPoolError(
                f"no room for {size} bytes: {self._leased} of the pool's {self._limit} are lent; return some "
                f"or raise its limit"
            )
        if self._break_even.pays(size):
            self._allocated += 1
            self._seen += self._idle.crowded(dtype, elements) is not None
        else:
            self._unpooled += 1
        self._trim(self._limit - self._leased - size)

    def _trim(self, keep: int) -> None:
        while self._idle.size > keep:
            self._idle.oldest()
            self._trimmed += 1

    def _settle(self) -> None:
        """Count the leases that were dropped."""
        while self._lost:
            piece, since = self._lost.popleft()
            leak = Leak(piece.where, piece.size, self._clock() - since)
            self._leased -= piece.size
            self._leases -= 1
            self._leaked += 1
            self._leaked_bytes += piece.size
            self._leaks.append(leak)
            _log.warning(
                "%s pool: a lease of %d bytes was dropped without being returned; it was taken at %s",
                self._blocks.kind,
                piece.size,
                piece.where,
            )

    def _is_sound(self, piece: Piece) -> bool:
        """Whether nobody wrote to the piece since its return; looked at in debug mode only."""
        if not self._debug or self._blocks.holds_only(piece.block, POISON):
            return True
        with self._lock:
            self._overwritten += 1
        _log.error(
            "%s pool: memory was written to after its return; its lease was taken at %s",
            self._blocks.kind,
            piece.where,
        )
        return False


def _checked(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    dimensions = shape if isinstance(shape, tuple) else (shape,)
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in dimensions):
        raise MemoryPoolError(f"shape {shape!r} must hold positive whole numbers")
    return dimensions
