"""A bounded mapping in this process's memory: a policy, limits in entries and bytes, and times to live."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from grandopt.errors import ConfigError
from grandopt.runtime.cache.policies.base import Policy

LATE = 64
"""Hits that may wait before the policy hears of them, if it cannot be told without the lock."""
ENTRY_BYTES = 250
"""What an entry takes beside its content: its key (a bytes object), and its places in dict and policy."""

T = TypeVar("T")


@dataclass(slots=True)
class StoredItem(Generic[T]):
    """A kept item, its size in bytes, and the clock's time from which it is gone (None: never).

    `hand_out` gives the item's value to one caller after another, where a look-up asks for that.
    """

    item: T
    size: int
    expires: float | None
    hand_out: Callable[[], Any]


class Counts(NamedTuple):
    """What a store has seen, and what it holds."""

    hits: int
    misses: int
    evictions: int
    expirations: int
    entries: int
    bytes: int


def _nothing() -> None:
    return None


class BoundedStore(Generic[T]):
    """Keys to items within limits. Thread safety: any thread may call any method.

    `clock` gives seconds; it is asked only about entries that have a time to live. The order of eviction is
    exactly the policy's: hits that wait are reported before anything is put in or thrown out.

    Look-ups take no lock. Counts are plain integers: CPython changes threads at calls and at jumps back,
    never between reading and writing one, so none is lost; a build of Python without the GIL may lose some.
    """

    def __init__(self, policy: Policy, entries: int, size: int, clock: Callable[[], float]) -> None:
        if entries < 1 or size < 1:
            raise ConfigError(f"a cache level needs room: got {entries} entries and {size} bytes")
        self._policy = policy
        self._most_entries, self._most_bytes = entries, size
        self.clock = clock
        self._lock = threading.Lock()
        self._entries: dict[bytes, StoredItem[T]] = {}
        self._late: deque[bytes] = deque()
        self._bytes = 0
        self._hits = self._misses = self._evictions = self._expirations = 0
        self._elsewhere: list[Callable[[], int]] = []
        self.find: Callable[[bytes], StoredItem[T] | None] = self._entries.get
        """The entry of a key, expired or not; nothing is counted."""
        self.touch: Callable[[bytes], object] = policy.touch or self._late.append
        """Tells the policy of a hit; KeyError if the key has just left. `heed` follows now and then."""

    def get(self, key: bytes) -> StoredItem[T] | None:
        """The entry of `key`, None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None or (entry.expires is not None and self.clock() >= entry.expires):
            self.missed(key)
            return None
        try:
            self.touch(key)
        except KeyError:  # it left since
            self._misses += 1
            return None
        self._hits += 1
        if len(self._late) >= LATE:
            self.heed()
        return entry

    def missed(self, key: bytes) -> None:
        """Count a miss; an entry whose time is over is removed."""
        self._misses += 1
        entry = self._entries.get(key)
        if entry is not None and entry.expires is not None and self.clock() >= entry.expires:
            with self._lock:
                if self._entries.get(key) is entry:
                    self._expirations += 1
                    self._remove(key)

    def heed(self) -> None:
        """Let the policy hear of the hits that wait."""
        if self._late:
            with self._lock:
                self._report()

    def counted_elsewhere(self, hits: Callable[[], int]) -> None:
        """Add the hits of look-ups that use `find` and `touch` themselves to those counted here."""
        self._elsewhere.append(hits)

    def put(
        self,
        key: bytes,
        item: T,
        size: int,
        ttl: float | None = None,
        hand_out: Callable[[], Any] = _nothing,
    ) -> list[tuple[bytes, StoredItem[T]]]:
        """Keep `item`, whose content takes `size` bytes, for `ttl` seconds; returns what had to leave for it.

        An item too large for the whole store, and one that the policy values less than what is there, leaves
        at once: it is among those returned. Raises ConfigError for a `ttl` that is not positive.
        """
        if ttl is not None and not 0 < ttl < math.inf:
            raise ConfigError(f"a time to live must be positive and finite, got {ttl} s")
        size += ENTRY_BYTES
        entry = StoredItem(item, size, None if ttl is None else self.clock() + ttl, hand_out)
        if size > self._most_bytes:
            self.discard(key)
            return [(key, entry)]
        with self._lock:
            self._report()
            self._remove(key)
            self._entries[key] = entry
            self._bytes += self._taken(entry)
            self._policy.add(key)
            return self._evict()

    @property
    def most_entries(self) -> int:
        """How many entries it holds at most."""
        return self._most_entries

    def resize(self, entries: int) -> list[tuple[bytes, StoredItem[T]]]:
        """Hold at most so many entries from now on; returns what had to leave for that.

        Raises ConfigError for less than 1.
        """
        if entries < 1:
            raise ConfigError(f"a cache level needs room: got {entries} entries")
        with self._lock:
            self._report()
            self._most_entries = entries
            return self._evict()

    def holds(self, key: bytes) -> bool:
        """Whether `key` is there and its time is not over; no use is counted."""
        entry = self._entries.get(key)
        return entry is not None and (entry.expires is None or self.clock() < entry.expires)

    def discard(self, key: bytes) -> None:
        """Remove `key` if it is there."""
        with self._lock:
            self._remove(key)

    def discard_prefix(self, prefix: bytes) -> int:
        """Remove all keys that begin with `prefix`; returns how many."""
        with self._lock:
            keys = [key for key in self._entries if key.startswith(prefix)]
            for key in keys:
                self._remove(key)
        return len(keys)

    def counts(self) -> Counts:
        """What was seen since the beginning, and what is held now."""
        with self._lock:
            self._report()
            return Counts(
                self._hits + sum(hits() for hits in self._elsewhere),
                self._misses,
                self._evictions,
                self._expirations,
                len(self._entries),
                self._bytes,
            )

    def _taken(self, entry: StoredItem[T]) -> int:
        """Bytes that are held because `entry` came. Called under the lock."""
        return entry.size

    def _freed(self, entry: StoredItem[T]) -> int:
        """Bytes that are held no more because `entry` leaves. Called under the lock."""
        return entry.size

    def _evict(self) -> list[tuple[bytes, StoredItem[T]]]:
        """Let entries leave until the limits are met. Called under the lock."""
        gone = []
        while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
            victim = self._policy.pop()
            assert isinstance(victim, bytes)
            left = self._entries.pop(victim)
            self._bytes -= self._freed(left)
            self._evictions += 1
            gone.append((victim, left))
        return gone

    def _report(self) -> None:
        take = self._late.popleft
        count = len(self._late)
        if count:
            self._policy.hits([take() for _ in range(count)])

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= self._freed(entry)
            self._policy.discard(key)
