"""What every cache level promises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from _pytest.fixtures import FixtureRequest

from grandopt.errors import ConfigError
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.keys import PREFIX_BYTES, InputKeys, prefix_of
from grandopt.runtime.cache.levels.base import CacheLevel, Item
from grandopt.runtime.cache.levels.compressed import CompressedLevel
from grandopt.runtime.cache.levels.disk import DiskLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.levels.redis import RedisLevel
from grandopt.runtime.cache.policies.lru import LRU
from tests.runtime.cache.clock import Clock
from tests.runtime.cache.server import RedisServer, running_server

KEYS = [InputKeys(digest).key([np.float32([number])]) for digest in ("one", "two") for number in range(4)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "compressed", "disk", "redis"])
def level(request: FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[CacheLevel]:
    made: CacheLevel
    match request.param:
        case "memory":
            made = MemoryLevel(LRU(), 100, 1 << 20, clock)
        case "compressed":
            made = CompressedLevel(LRU(), 100, 1 << 20, clock)
        case "disk":
            made = DiskLevel(tmp_path / "cache", 1 << 24, clock)
        case _:
            made = RedisLevel(request.getfixturevalue("server").url, limit=2.0, clock=clock)
            made.clear()
    yield made
    made.close()


VALUES = [
    encode(np.arange(152, dtype=np.float32)),
    encode({"action": np.zeros((3, 2)), "value": 1.5}),
    encode(b"\0" * 100_000),
    encode(np.random.default_rng(0).bytes(50_000)),
    encode(""),
]


@pytest.mark.parametrize("data", VALUES, ids=["array", "dict", "zeros", "noise", "empty"])
def test_what_is_put_in_comes_out(level: CacheLevel, data: bytes) -> None:
    assert level.get(KEYS[0]) is None
    assert not level.holds(KEYS[0])
    assert not level.put(KEYS[0], data)
    assert level.get(KEYS[0]) == Item(KEYS[0], data, None)
    assert level.holds(KEYS[0])
    assert level.get(KEYS[1]) is None
    counts = level.counts()
    assert (counts.hits, counts.misses, counts.failures, counts.damaged) == (1, 2, 0, 0)
    assert counts.entries in (1, None)


def test_the_last_value_stands(level: CacheLevel) -> None:
    for text in ("old", "new"):
        level.put(KEYS[0], encode(text))
    assert level.get(KEYS[0]) == Item(KEYS[0], encode("new"), None)


def test_a_value_is_gone_when_its_time_is_over(level: CacheLevel, clock: Clock) -> None:
    level.put(KEYS[0], encode(1), ttl=20.0)
    level.put(KEYS[1], encode(2))
    clock.now += 19.0
    assert level.get(KEYS[0]) == Item(KEYS[0], encode(1), 1.0)
    clock.now += 1.0
    assert level.get(KEYS[0]) is None
    assert level.get(KEYS[1]) is not None
    assert level.counts().expirations == 1


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_to_live_that_is_none_is_refused(level: CacheLevel, ttl: float) -> None:
    level.put(KEYS[0], encode(1))
    with pytest.raises(ConfigError, match="must be positive"):
        level.put(KEYS[0], encode(2), ttl=ttl)
    assert level.get(KEYS[0]) == Item(KEYS[0], encode(1), None)


def test_batches_keep_the_order(level: CacheLevel) -> None:
    level.put_many([Item(key, encode(number), None) for number, key in enumerate(KEYS[:3])])
    found = level.get_many([KEYS[2], KEYS[3], KEYS[0]])
    assert found == [Item(KEYS[2], encode(2), None), None, Item(KEYS[0], encode(0), None)]
    level.put_many([])
    assert level.get_many([]) == []


def test_removal_of_one_of_an_artifact_and_of_all(level: CacheLevel) -> None:
    for key in KEYS:
        level.put(key, encode(1))
    level.discard(KEYS[0])
    level.discard(KEYS[0])
    assert [level.holds(key) for key in KEYS] == [False] + 7 * [True]
    assert level.discard_prefix(prefix_of("one")) == 3
    assert level.discard_prefix(prefix_of("three")) == 0
    assert [level.holds(key) for key in KEYS] == 4 * [False] + 4 * [True]
    level.clear()
    assert not any(level.holds(key) for key in KEYS)


def test_threads_get_what_belongs_to_their_key(level: CacheLevel) -> None:
    values = {key: encode(np.full(40, number, np.float32)) for number, key in enumerate(KEYS)}
    wrong: list[bytes] = []

    def work(first: int) -> None:
        for step in range(40):
            key = KEYS[(first + step) % len(KEYS)]
            found = level.get(key)
            if found is None:
                level.put(key, values[key])
            elif found.data != values[key]:
                wrong.append(key)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts = level.counts()
    assert wrong == []
    assert counts.hits + counts.misses == 160
    assert counts.hits > 0


@pytest.mark.parametrize("make", [MemoryLevel, CompressedLevel])
def test_limits_in_memory_are_kept(make: Callable[..., CacheLevel]) -> None:
    level = make(LRU(), 2, 1 << 20, Clock())
    for number, key in enumerate(KEYS[:3]):
        level.put(key, encode(number))
    counts = level.counts()
    assert [level.holds(key) for key in KEYS[:3]] == [False, True, True]
    assert (counts.entries, counts.evictions) == (2, 1)
    for entries, size in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="needs room"):
            make(LRU(), entries, size, Clock())


def test_memory_says_what_left_and_how_long_it_lives_on() -> None:
    clock = Clock()
    level = MemoryLevel(LRU(), 1, 1 << 20, clock)
    level.put(KEYS[0], encode("a"), ttl=10)
    clock.now += 4
    assert level.put(KEYS[1], encode("b")) == [Item(KEYS[0], encode("a"), 6.0)]
    level.put(KEYS[2], encode("c"), ttl=1)
    clock.now += 2
    assert level.put(KEYS[3], encode("d")) == []
    assert len(KEYS[0]) > PREFIX_BYTES
