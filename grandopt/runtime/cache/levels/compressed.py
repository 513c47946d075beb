"""L2: values in this process's memory, compressed."""

from __future__ import annotations

import time
from collections.abc import Callable

from grandopt.runtime.cache.bounded_store import ENTRY_BYTES, BoundedStore, StoredItem
from grandopt.runtime.cache.levels.base import CacheLevel, Item, LevelCounts
from grandopt.runtime.cache.packing import Packed, Packer, unpack
from grandopt.runtime.cache.policies.base import Policy


class PackedShelf(BoundedStore[Packed]):
    """Counts the bytes of a value as long as its entry, or one that leans on it, is there."""

    def _taken(self, entry: StoredItem[Packed]) -> int:
        return ENTRY_BYTES + _used(entry.item)

    def _freed(self, entry: StoredItem[Packed]) -> int:
        return ENTRY_BYTES + _left(entry.item)


def _used(packed: Packed) -> int:
    """Note a user; the bytes that are held for it from now on."""
    packed.users += 1
    if packed.users > 1:
        return 0
    return len(packed.data) + (0 if packed.base is None else _used(packed.base))


def _left(packed: Packed) -> int:
    """Note that a user is gone; the bytes that are held no more."""
    packed.users -= 1
    if packed.users:
        return 0
    return len(packed.data) + (0 if packed.base is None else _left(packed.base))


class CompressedLevel(CacheLevel):
    """Holds some times more values than memory does in as many bytes, for some microseconds a hit.

    What leaves it is not returned: below are only levels that have it already. Raises ConfigError for limits
    below 1.
    """

    name = "compressed"
    blocks = False

    def __init__(
        self, policy: Policy, entries: int, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = PackedShelf(policy, entries, size, clock)
        self._packer = Packer()
        self._clock = clock

    def get(self, key: bytes) -> Item | None:
        entry = self._store.get(key)
        if entry is None:
            return None
        ttl = None if entry.expires is None else entry.expires - self._clock()
        return Item(key, unpack(entry.item), ttl)

    def put(self, key: bytes, data: bytes, ttl: float | None = None) -> tuple[Item, ...]:
        packed = self._packer.pack(data)
        self._store.put(key, packed, len(packed.data), ttl)
        return ()

    def holds(self, key: bytes) -> bool:
        return self._store.holds(key)

    def discard(self, key: bytes) -> None:
        self._store.discard(key)

    def discard_prefix(self, prefix: bytes) -> int:
        return self._store.discard_prefix(prefix)

    def clear(self) -> None:
        self._store.discard_prefix(b"")

    def content_bytes(self) -> int:
        """Bytes held for values, without those that entries take for themselves."""
        counts = self._store.counts()
        return counts.bytes - ENTRY_BYTES * counts.entries

    def counts(self) -> LevelCounts:
        return LevelCounts(*self._store.counts())
