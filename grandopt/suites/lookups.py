"""What a look-up costs in each level of the cache, beside other caches doing the same work."""

from __future__ import annotations

import importlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import CacheError
from grandopt.measurement.streams.market import windows
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.construct import policy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.base import CacheLevel
from grandopt.runtime.cache.levels.compressed import CompressedLevel
from grandopt.runtime.cache.levels.disk import DiskLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.levels.redis import RedisLevel
from grandopt.suites.redis_server import redis_server

RING = 256
"""Different inputs in turn, all of them held."""
BUDGET_S = 5.0
SHAPE = (1, 152)
"""Of the inputs: float32, as the decision gate takes them; answers are float32 [1, 2]."""
_ROOM = 1 << 28
Find = Callable[[bytes], Any]


@dataclass(frozen=True)
class LookupRow:
    """One cache: the median time of a look-up with its key, in seconds, and what a caller gets.

    Without a time, `note` says why. `threads` says whether several may ask at once.
    """

    cache: str
    seconds: float | None
    note: str
    threads: bool = True


def benchmark_lookups(budget_s: float = BUDGET_S) -> list[LookupRow]:
    """Hits, in turns, for `budget_s` seconds; every cache is asked with the same keys, each made anew."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(SHAPE).astype(np.float32) for _ in range(RING)]
    values = [rng.standard_normal((1, 2)).astype(np.float32) for _ in range(RING)]
    one = InputKeys("benchmark").one
    keyed = dict(zip(map(one, arrays), values, strict=True))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows, times = list[LookupRow](), dict[int, list[float]]()
        finds = dict[int, Find]()
        for name, note, make in _contenders(stack, folder):
            found = make(keyed)
            if isinstance(found, str):
                rows.append(LookupRow(name, None, found))
                continue
            finds[len(rows)], times[len(rows)] = found, []
            rows.append(LookupRow(name, None, note, name != BARE))
        end = time.perf_counter() + budget_s
        while not all(times.values()) or time.perf_counter() < end:
            for place, find in finds.items():
                times[place].append(_round(find, one, arrays))
    return [
        replace(row, seconds=statistics.median(times[place])) if place in times else row
        for place, row in enumerate(rows)
    ]


def compression_ratio(count: int = 1000, rows: int = 60) -> float:
    """How many times smaller made-up market observations (see `measurement.market`) are in compressed memory,
    put in one after another: bytes of the values over bytes held for them, entries' own not counted."""
    level = CompressedLevel(policy("lru"), count, _ROOM)
    one = InputKeys("market").one
    observed = [(one(window), encode(window)) for window in windows(count, rows, np.random.default_rng(0))]
    for key, data in observed:
        level.put(key, data)
    return sum(len(data) for _, data in observed) / level.content_bytes()


def _round(find: Find, one: Callable[[Any], bytes], arrays: Sequence[Any]) -> float:
    for array in arrays:  # what the one before has pushed out of the processor's caches
        find(one(array))
    start = time.perf_counter()
    for array in arrays:
        find(one(array))
    return (time.perf_counter() - start) / len(arrays)


Keyed = dict[bytes, Any]
Make = Callable[[Keyed], Find | str]
OWN = "a view of its own"
SHARED = "the array that is kept"
BARE = "cachetools, lru"


def _contenders(stack: ExitStack, folder: Path) -> Iterator[tuple[str, str, Make]]:
    yield "grandopt memory, lru", OWN, lambda keyed: _memory("lru", keyed)
    yield "grandopt memory, adaptive", OWN, lambda keyed: _memory("adaptive", keyed)
    yield BARE, SHARED, _mapping("cachetools", _cachetools)
    yield f"{BARE}, lock and view", OWN, _mapping("cachetools", _guarded)
    yield "cachebox, lru", SHARED, _mapping("cachebox", _cachebox)
    yield "cachebox, lru, view", OWN, _mapping("cachebox", _viewed)
    yield "theine", SHARED, _mapping("theine", _theine)
    compressed = CompressedLevel(policy("lru"), RING, _ROOM)
    yield "grandopt compressed", "bytes", lambda keyed: _level(compressed, keyed)
    yield "grandopt disk", "bytes", lambda keyed: _level(_closing(stack, DiskLevel(folder / "own")), keyed)
    yield "diskcache", "an unpickled array", lambda keyed: _diskcache(stack, folder / "other", keyed)
    url = stack.enter_context(redis_server(folder))
    yield "grandopt redis", "bytes", lambda keyed: _redis_level(stack, url, keyed)
    yield "redis-py GET", "bytes", lambda keyed: _redis(stack, url, keyed)


def _memory(name: Any, keyed: Keyed) -> Find:
    cache = Hierarchy([MemoryLevel(policy(name), 4 * RING, _ROOM)])
    cache.put_many(keyed)
    return cache.get


def _mapping(module: str, make: Callable[[Any, Keyed], Find]) -> Make:
    def made(keyed: Keyed) -> Find | str:
        try:
            return make(importlib.import_module(module), keyed)
        except ImportError:
            return "not installed"

    return made


def _cachetools(cachetools: Any, keyed: Keyed) -> Find:
    cache = cachetools.LRUCache(4 * RING)
    cache.update(keyed)
    get: Find = cache.__getitem__
    return get


def _guarded(cachetools: Any, keyed: Keyed) -> Find:
    cache, lock = cachetools.LRUCache(4 * RING), threading.Lock()
    cache.update(keyed)

    def find(key: bytes) -> Any:
        with lock:
            value = cache[key]
        return value.view()

    return find


def _cachebox(cachebox: Any, keyed: Keyed) -> Find:
    cache = cachebox.LRUCache(4 * RING)
    cache.update(keyed)
    get: Find = cache.__getitem__
    return get


def _viewed(cachebox: Any, keyed: Keyed) -> Find:
    get = _cachebox(cachebox, keyed)

    def find(key: bytes) -> Any:
        return get(key).view()

    return find


def _theine(theine: Any, keyed: Keyed) -> Find:
    cache = theine.Cache(4 * RING)
    for key, value in keyed.items():
        cache.set(key, value)
    get: Find = cache.get
    return get


def _level(level: CacheLevel, keyed: Keyed) -> Find:
    for key, value in keyed.items():
        level.put(key, encode(value))
    return level.get


def _closing(stack: ExitStack, level: CacheLevel) -> CacheLevel:
    stack.callback(level.close)
    return level


def _diskcache(stack: ExitStack, folder: Path, keyed: Keyed) -> Find:
    cache = importlib.import_module("diskcache").Cache(str(folder))
    stack.callback(cache.close)
    for key, value in keyed.items():
        cache.set(key, value)
    get: Find = cache.get
    return get


def _redis_level(stack: ExitStack, url: str | None, keyed: Keyed) -> Find | str:
    if url is None:
        return "redis-server not found"
    try:
        return _level(_closing(stack, RedisLevel(url, limit=5.0)), keyed)
    except CacheError:
        return "not installed"


def _redis(stack: ExitStack, url: str | None, keyed: Keyed) -> Find | str:
    if url is None:
        return "redis-server not found"
    try:
        client = importlib.import_module("redis").Redis.from_url(url, protocol=2)
    except ImportError:
        return "not installed"
    stack.callback(client.close)
    for key, value in keyed.items():
        client.set(key, encode(value))
    get: Find = client.get
    return get
