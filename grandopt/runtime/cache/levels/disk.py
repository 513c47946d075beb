"""L3: values in a folder, shared by processes and kept from run to run."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diskcache

from grandopt.artifacts.regular import open_regular
from grandopt.errors import CacheError, ConfigError, first_line
from grandopt.runtime.cache.envelope import seal, unseal
from grandopt.runtime.cache.keys import PREFIX_BYTES
from grandopt.runtime.cache.levels.base import CacheLevel, Item, LevelCounts, check_ttl
from grandopt.runtime.cache.levels.complaints import Complaints
from grandopt.runtime.cache.levels.folder import claim

ENTRIES = "entries"
"""Folder of what diskcache writes: what it finds there and does not know, it removes."""
CULLED = 2
"""Entries that a write over the limit removes: more than it adds, and few where few large ones fill it."""
PAGES = 128
"""SQLite's pages of 4 KiB that each thread's connection keeps: the upper ones of the index. diskcache's 8192
would be 32 MiB for every thread that looks something up."""
TIMEOUT = 0.25
"""Seconds that one look-up or write waits for another process's."""
_STRANGE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What diskcache and SQLite's module raise over rows that diskcache has not written."""
_FAILED = (sqlite3.Error, OSError, diskcache.Timeout, CacheError, *_STRANGE)
_OWN_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")
"""Files that diskcache makes for large values; a row that names another one is not followed."""


class BytesDisk(diskcache.Disk):
    """Stores bytes under bytes, and refuses to unpickle what somebody else may have put there."""

    def put(self, key: Any) -> tuple[Any, bool]:
        """The database's form of a key."""
        if type(key) is not bytes:
            raise CacheError(f"keys on disk are bytes, got {type(key).__name__}")
        return sqlite3.Binary(key), True

    def get(self, key: Any, raw: bool) -> bytes:
        """The key of a database's form."""
        if not raw or not isinstance(key, (bytes, memoryview)):
            raise CacheError("a key in the cache folder is no bytes: something else has written there")
        return bytes(key)

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> tuple[Any, ...]:
        """The database's form of a value."""
        if type(value) is not bytes or read:
            raise CacheError(f"values on disk are bytes, got {type(value).__name__}")
        return tuple(super().store(value, read, key))

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes:
        """The value of a database's form."""
        if mode == diskcache.core.MODE_RAW and isinstance(value, (bytes, memoryview)):
            return bytes(value)
        if mode == diskcache.core.MODE_BINARY and not read and _is_own(filename):
            with open_regular(Path(self._directory, str(filename))) as file:
                return file.read()
        raise CacheError("a value in the cache folder is no bytes: something else has written there")

    def remove(self, file_path: Any) -> None:
        """Remove a file of a value."""
        if _is_own(file_path):
            super().remove(file_path)


def _is_own(filename: object) -> bool:
    return isinstance(filename, str) and _OWN_FILE.fullmatch(filename) is not None


class DiskLevel(CacheLevel):
    """Values in SQLite (larger ones in files of their own) up to `size` bytes; the oldest leave first.

    Without `size` the limit is the one that the folder has (1 GiB if it is new).

    Several processes may use one folder. A process that is killed leaves the folder usable: at worst, what it
    was writing is missing. A damaged row is a miss, and removed. A full disk or a locked database is a miss,
    or a value that is not kept. `clock` gives the time of day in seconds. Raises ConfigError for a
    `size` below 1 and CacheError for a folder that cannot be used.
    """

    name = "disk"
    blocks = True

    def __init__(self, folder: Path, size: int | None = None, clock: Callable[[], float] = time.time) -> None:
        if size is not None and size < 1:
            raise ConfigError(f"a cache level needs room: got {size} bytes")
        claim(folder)
        entries = folder / ENTRIES
        try:
            self._cache: Any = diskcache.Cache(
                str(entries),
                timeout=TIMEOUT,
                disk=BytesDisk,
                # The one policy that writes nothing when something is read.
                eviction_policy="least-recently-stored",
                tag_index=True,
                cull_limit=CULLED,
                sqlite_cache_size=PAGES,
                # No faster here, and a mapped file that cannot grow ends the process instead of the write.
                sqlite_mmap_size=0,
                **({} if size is None else {"size_limit": size}),
            )
        except _FAILED as error:
            raise CacheError(
                f"{folder}: the cache cannot be opened ({first_line(error)}); "
                "remove the folder, or choose another one"
            ) from error
        self._clock = clock
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._complaints = Complaints("disk")
        self._hits = 0
        self._counts = dict.fromkeys(("misses", "expirations", "failures", "damaged"), 0)

    def get(self, key: bytes) -> Item | None:
        try:
            sealed = self._cache.get(key)
        except CacheError:
            return self._damaged(key)
        except _FAILED as error:
            self._complaints.about("cannot be read", first_line(error))
            return self._miss("failures")
        if sealed is None:
            return self._miss()
        envelope = unseal(key, sealed)
        if envelope is None:
            return self._damaged(key)
        left = None if envelope.expires == math.inf else envelope.expires - self._clock()
        if left is not None and left <= 0:
            self.discard(key)
            return self._miss("expirations")
        with self._lock:
            self._hits += 1
        return Item(key, envelope.data, left)

    def put(self, key: bytes, data: bytes, ttl: float | None = None) -> tuple[Item, ...]:
        check_ttl(ttl)
        try:
            with self._alone():
                self._set(Item(key, data, ttl))
        except _FAILED as error:
            self._unwritten(error)
        return ()

    def put_many(self, items: Any) -> None:
        for item in items:
            check_ttl(item.ttl)
        try:
            with self._alone(), self._cache.transact():  # one write to the disk for all, or none
                for item in items:
                    self._set(item)
        except _FAILED as error:
            self._unwritten(error)

    def reject(self, key: bytes) -> None:
        self._complaints.about("a value that is none of the agent's was removed")
        self._count("damaged")
        self.discard(key)

    def holds(self, key: bytes) -> bool:
        try:
            return key in self._cache
        except _FAILED:
            self._count("failures")
            return False

    def discard(self, key: bytes) -> None:
        try:
            with self._alone():
                self._cache.delete(key)
        except _FAILED:
            self._count("failures")

    def discard_prefix(self, prefix: bytes) -> int:
        """As in the contract. Raises CacheError when the folder cannot be written."""
        try:
            with self._writing:
                return int(self._cache.evict(prefix.hex(), retry=True))
        except _FAILED as error:
            raise self._unwritable(error) from error

    def clear(self) -> None:
        """As in the contract. Raises CacheError when the folder cannot be written."""
        try:
            with self._writing:
                self._cache.clear(retry=True)
        except _FAILED as error:
            raise self._unwritable(error) from error

    def check(self) -> list[str]:
        """Read every entry, remove what is damaged and files that no entry names; one line per finding."""
        findings = []
        try:
            with self._writing, warnings.catch_warnings():  # diskcache collects its findings as warnings
                warnings.simplefilter("always")
                found = self._cache.check(fix=True, retry=True)
            findings += [
                str(item.message) for item in found if item.category is not diskcache.EmptyDirWarning
            ]
            for key in list(self._cache):
                before = self._counts["damaged"]
                self.get(key)
                if self._counts["damaged"] != before:
                    findings.append(f"damaged entry {key.hex()}: removed")
        except _FAILED as error:
            findings.append(f"the check could not be finished ({first_line(error)}); clear the cache")
        return findings

    def counts(self) -> LevelCounts:
        entries = size = None
        try:
            entries, size = len(self._cache), int(self._cache.volume())
        except _FAILED:
            self._count("failures")
        with self._lock:
            return LevelCounts(hits=self._hits, evictions=None, entries=entries, bytes=size, **self._counts)

    def close(self) -> None:
        self._cache.close()

    def _set(self, item: Item) -> None:
        key, data, ttl = item
        expires = math.inf if ttl is None else self._clock() + ttl
        self._cache.set(key, seal(key, data, expires), tag=key[:PREFIX_BYTES].hex())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread of this process writes at a time.

        diskcache notes only which thread is in a transaction. Where a full disk makes SQLite end one by
        itself, a second thread begins its own, and the first would take that for its own.
        """
        if not self._writing.acquire(timeout=TIMEOUT):
            raise diskcache.Timeout("another thread writes")
        try:
            yield
        finally:
            self._writing.release()

    def _damaged(self, key: bytes) -> Item | None:
        self._complaints.about("a damaged value was removed")
        self.discard(key)
        return self._miss("damaged")

    def _miss(self, *reasons: str) -> Item | None:
        self._count("misses", *reasons)
        return None

    def _count(self, *names: str) -> None:
        with self._lock:
            for name in names:
                self._counts[name] += 1

    def _unwritten(self, error: Exception) -> None:
        self._complaints.about("cannot be written", first_line(error))
        self._count("failures")

    def _unwritable(self, error: Exception) -> CacheError:
        return CacheError(f"{self._cache.directory}: entries cannot be removed ({first_line(error)})")
