"""L1: values in this process's memory, ready to be handed out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from grandopt.runtime.cache.bounded_store import BoundedStore, StoredItem
from grandopt.runtime.cache.levels.base import CacheLevel, Item, LevelCounts
from grandopt.runtime.cache.lookup import Due, look_up
from grandopt.runtime.cache.opener import opener
from grandopt.runtime.cache.policies.base import Policy


class Ready(NamedTuple):
    """An encoded value, and the function that hands it out anew at each call."""

    data: bytes
    open: Callable[[], Any]


class MemoryLevel(CacheLevel):
    """Keeps values so that a hit reads no byte of them; no caller can change what another one gets.

    Raises ConfigError for limits below 1.
    """

    name = "memory"
    blocks = False

    def __init__(
        self, policy: Policy, entries: int, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store: BoundedStore[bytes] = BoundedStore(policy, entries, size, clock)
        self._clock = clock
        self.value: Callable[[bytes], Any] = self.look_up(_no_value)
        """The value of a key, the caller's own; None when there is none."""

    def look_up(self, missed: Callable[[bytes], Any], due: Due | None = None) -> Callable[[bytes], Any]:
        """A function like `value`, with another answer to misses; `due` as in `lookup.look_up`."""
        count = self._store.missed

        def counted(key: bytes) -> Any:
            count(key)
            return missed(key)

        return look_up(self._store, counted, due or _at_once)

    def get(self, key: bytes) -> Item | None:
        entry = self._store.get(key)
        return None if entry is None else Item(key, entry.item, self._left(entry.expires))

    def put(self, key: bytes, data: bytes, ttl: float | None = None) -> list[Item]:
        """As in the contract. Raises CacheError for bytes that are no encoded value."""
        return self.keep(key, Ready(data, opener(data)), ttl)

    def keep(self, key: bytes, ready: Ready, ttl: float | None = None) -> list[Item]:
        """`put` of a value whose opener is at hand."""
        return self._alive(self._store.put(key, ready.data, len(ready.data), ttl, ready.open))

    @property
    def most_entries(self) -> int:
        """How many entries it holds at most."""
        return self._store.most_entries

    def resize(self, entries: int) -> list[Item]:
        """Hold at most so many entries from now on; returns what left for that. ConfigError for less than
        1."""
        return self._alive(self._store.resize(entries))

    def holds(self, key: bytes) -> bool:
        return self._store.holds(key)

    def discard(self, key: bytes) -> None:
        self._store.discard(key)

    def discard_prefix(self, prefix: bytes) -> int:
        return self._store.discard_prefix(prefix)

    def clear(self) -> None:
        self._store.discard_prefix(b"")

    def counts(self) -> LevelCounts:
        return LevelCounts(*self._store.counts())

    def _alive(self, gone: list[tuple[bytes, StoredItem[bytes]]]) -> list[Item]:
        """What has left, but for that whose time is over."""
        return [
            Item(name, entry.item, left)
            for name, entry in gone
            if (left := self._left(entry.expires)) is None or left > 0
        ]

    def _left(self, expires: float | None) -> float | None:
        return None if expires is None else expires - self._clock()


def _no_value(key: bytes) -> None:
    return None


def _at_once(value: Callable[[bytes], Any], key: bytes) -> Any:
    return value(key)
