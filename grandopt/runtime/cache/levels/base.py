"""The contract of every cache level."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from grandopt.errors import ConfigError


class Item(NamedTuple):
    """An encoded value under its key, and the seconds that it has left to live (None: no end)."""

    key: bytes
    data: bytes
    ttl: float | None = None


class LevelCounts(NamedTuple):
    """What one level has seen in this process, and what it holds (None: not known here).

    `failures` counts look-ups and writes that the level could not carry out; each look-up among them is a
    miss as well. `damaged` counts entries that were found broken and removed.
    """

    hits: int = 0
    misses: int = 0
    evictions: int | None = 0
    expirations: int | None = 0
    entries: int | None = 0
    bytes: int | None = 0
    failures: int = 0
    damaged: int = 0


class CacheLevel(ABC):
    """A place where encoded values are kept under keys that begin with their artifact's prefix.

    Thread safety: any thread may call any method but `close`, which comes last. Ownership: a level owns what
    it opened until `close`. Bytes that `get` returns are those that were put in, or there is a miss: no level
    gives anything damaged, and none raises because its storage has failed.
    """

    name: str
    blocks: bool
    """Whether a look-up waits for a disk or a network: never to be done on an event loop's thread."""

    @abstractmethod
    def get(self, key: bytes) -> Item | None:
        """What is kept under `key`; None when there is nothing, or its time is over."""

    @abstractmethod
    def put(self, key: bytes, data: bytes, ttl: float | None = None) -> Sequence[Item]:
        """Keep `data` for `ttl` seconds; returns what left this level for it and could go to a lower one.

        Raises ConfigError for a `ttl` that is not positive.
        """

    def get_many(self, keys: Sequence[bytes]) -> list[Item | None]:
        """`get` of each key, in one go where the level can do that."""
        return [self.get(key) for key in keys]

    def put_many(self, items: Sequence[Item]) -> None:
        """`put` of each item, in one go where the level can do that; what leaves for them is dropped."""
        for key, data, ttl in items:
            self.put(key, data, ttl)

    @abstractmethod
    def holds(self, key: bytes) -> bool:
        """Whether something is kept under `key`; no use is counted."""

    @abstractmethod
    def discard(self, key: bytes) -> None:
        """Remove `key` if it is there."""

    def reject(self, key: bytes) -> None:
        """Remove `key`, whose value is sound but not one that its owner can have put in; it is counted."""
        self.discard(key)

    @abstractmethod
    def discard_prefix(self, prefix: bytes) -> int:
        """Remove every key that begins with this prefix of PREFIX_BYTES bytes; returns how many."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything."""

    @abstractmethod
    def counts(self) -> LevelCounts:
        """What was seen and what is held."""

    def close(self) -> None:
        """Give back what the level has opened. Calling it twice is allowed; using it afterwards is not."""
        return


def check_ttl(ttl: float | None) -> None:
    """Raises ConfigError for a time to live that is not positive, or not finite."""
    if ttl is not None and not 0 < ttl < math.inf:
        raise ConfigError(f"a time to live must be positive and finite, got {ttl} s")
