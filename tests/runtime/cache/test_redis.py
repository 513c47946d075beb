"""The Redis level when its server is away, slow, or full of other things."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import CacheError, ConfigError
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.envelope import seal
from grandopt.runtime.cache.keys import InputKeys, prefix_of
from grandopt.runtime.cache.levels.base import Item
from grandopt.runtime.cache.levels.breaker import FAILURES, LONGEST, PAUSE, Breaker
from grandopt.runtime.cache.levels.redis import RedisLevel
from tests.runtime.cache.clock import Clock
from tests.runtime.cache.server import RedisServer, running_server

KEYS = [InputKeys("one").key([np.float32([number])]) for number in range(4)]
VALUE = encode(np.arange(10))
GENEROUS_S = 2.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_server(tmp_path) as server:
        yield server


def test_a_server_that_goes_and_comes_back_costs_misses_only(server: RedisServer) -> None:
    clock = Clock()
    level = RedisLevel(server.url, limit=GENEROUS_S, breaker=Breaker(clock))
    level.put(KEYS[0], VALUE)
    assert level.get(KEYS[0]) == Item(KEYS[0], VALUE, None)
    server.stop()
    for _ in range(2 * FAILURES):
        assert level.get(KEYS[0]) is None
    level.put(KEYS[0], VALUE)
    assert level.get_many(KEYS) == [None] * 4
    with pytest.raises(CacheError, match="cannot be removed"):
        level.discard_prefix(prefix_of("one"))
    server.start()
    assert level.get(KEYS[0]) is None
    clock.now += LONGEST
    level.put(KEYS[1], VALUE)
    assert level.get(KEYS[1]) == Item(KEYS[1], VALUE, None)
    counts = level.counts()
    assert counts.hits == 2
    assert counts.failures > 0
    level.close()


def test_a_server_that_says_nothing_is_left_alone_within_the_limit() -> None:
    pytest.importorskip("redis", reason="skipped: the Redis client is not installed")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        clock = Clock()
        level = RedisLevel(f"redis://127.0.0.1:{deaf.getsockname()[1]}", limit=0.2, breaker=Breaker(clock))
        start = time.monotonic()
        assert [level.get(KEYS[0]) for _ in range(200)] == [None] * 200
        # Far below 200 time limits: after FAILURES of them nobody asks.
        assert time.monotonic() - start < 100 * 0.2
        assert level.counts().failures == 200
        level.close()


def test_damaged_foreign_and_unrelated_values_are_misses(server: RedisServer) -> None:
    import redis

    level = RedisLevel(server.url, namespace="mine", limit=GENEROUS_S)
    other = RedisLevel(server.url, namespace="theirs", limit=GENEROUS_S)
    client = redis.Redis.from_url(server.url)
    client.set("unrelated", "stays")
    for key in KEYS:
        level.put(key, VALUE)
    other.put(KEYS[0], encode("theirs"))
    names = sorted(name for name in client.scan_iter(match="grandopt:1:mine:*"))
    assert len(names) == 4
    names = [level._name(key) for key in KEYS]
    client.set(names[0], b"damaged")
    client.set(names[1], seal(KEYS[2], VALUE))
    client.delete(names[2])
    client.lpush(names[2], "of another type")
    assert [level.get(key) for key in KEYS] == [None, None, None, Item(KEYS[3], VALUE, None)]
    assert not client.exists(names[0])
    counts = level.counts()
    assert (counts.damaged, counts.failures) == (2, 1)
    level.clear()
    assert level.get(KEYS[3]) is None
    assert other.get(KEYS[0]) == Item(KEYS[0], encode("theirs"), None)
    assert client.get("unrelated") == b"stays"
    for closing in (level, other, client):
        closing.close()


def test_the_server_forgets_what_has_a_time_to_live(server: RedisServer) -> None:
    import redis

    level = RedisLevel(server.url, limit=GENEROUS_S)
    level.put_many([Item(KEYS[0], VALUE, 500.0), Item(KEYS[1], VALUE, None)])
    with redis.Redis.from_url(server.url) as client:
        left = client.pttl(level._name(KEYS[0]))
        assert isinstance(left, int)
        assert 0 < left <= 500_000
        assert client.pttl(level._name(KEYS[1])) == -1
    level.close()


@pytest.mark.parametrize(
    ("url", "namespace", "limit", "message"),
    [
        ("http://host", "default", 1.0, "no Redis URL"),
        ("redis://secret:hunter2@host:port", "default", 1.0, "no Redis URL"),
        ("redis://host?nonsense=1", "default", 1.0, "no Redis URL"),
        ("redis://host", "a b", 1.0, "namespace"),
        ("redis://host", "", 1.0, "namespace"),
        ("redis://host", "default", 0.0, "time limit"),
    ],
)
def test_bad_settings_are_one_error(url: str, namespace: str, limit: float, message: str) -> None:
    pytest.importorskip("redis", reason="skipped: the Redis client is not installed")
    with pytest.raises(ConfigError, match=message) as caught:
        RedisLevel(url, namespace, limit)
    assert "hunter2" not in str(caught.value)


def test_the_breaker_opens_waits_and_tries_once() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    pause = PAUSE
    while pause < LONGEST:
        clock.now += pause
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: breaker.allows(), range(4))) == 1
        breaker.failed()
        pause = min(LONGEST, 2 * pause)
    clock.now += LONGEST
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    breaker.failed()
    assert breaker.allows()
