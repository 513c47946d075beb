"""A bounded mapping in memory."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.cache.bounded_store import ENTRY_BYTES, LATE, BoundedStore
from grandopt.runtime.cache.policies.adaptive import Adaptive
from grandopt.runtime.cache.policies.lru import LRU
from tests.runtime.cache.clock import Clock


def store(entries: int = 100, size: int = 1 << 20, clock: Clock | None = None) -> BoundedStore[Any]:
    return BoundedStore(LRU(), entries, size, clock or Clock())


def test_the_limit_in_entries_is_exact_and_so_is_the_order() -> None:
    kept = store(entries=3)
    for key in (b"a", b"b", b"c"):
        assert kept.put(key, key.decode(), 1) == []
    assert kept.get(b"a") is not None
    gone = kept.put(b"d", "d", 1)
    assert [(key, entry.item) for key, entry in gone] == [(b"b", "b")]
    assert kept.get(b"b") is None
    assert [entry.item for key in (b"a", b"c", b"d") if (entry := kept.get(key))] == ["a", "c", "d"]


def test_the_limit_in_bytes_counts_what_an_entry_takes() -> None:
    kept = store(size=3 * (ENTRY_BYTES + 100))
    for key in (b"a", b"b", b"c"):
        kept.put(key, key, 100)
    assert kept.counts().bytes == 3 * (ENTRY_BYTES + 100)
    assert [key for key, _ in kept.put(b"d", b"d", 101)] == [b"a", b"b"]
    assert kept.counts().bytes == 2 * (ENTRY_BYTES + 100) + 1


def test_what_is_too_large_leaves_at_once_and_takes_its_old_value_along() -> None:
    kept = store(size=1000)
    kept.put(b"other", 1, 10)
    kept.put(b"a", "old", 10)
    gone = kept.put(b"a", "new", 2000)
    assert [(key, entry.item) for key, entry in gone] == [(b"a", "new")]
    assert kept.get(b"a") is None
    assert kept.get(b"other") is not None


def test_replacing_counts_once() -> None:
    kept = store()
    kept.put(b"a", 1, 10)
    kept.put(b"a", 2, 30)
    assert kept.counts()[-2:] == (1, ENTRY_BYTES + 30)
    entry = kept.get(b"a")
    assert entry is not None
    assert entry.item == 2


def test_a_time_to_live_ends_when_it_ends() -> None:
    clock = Clock()
    kept = store(clock=clock)
    kept.put(b"short", 1, 1, ttl=2.0)
    kept.put(b"long", 1, 1)
    clock.now += 1.999
    assert kept.get(b"short") is not None
    clock.now += 0.001
    assert kept.get(b"short") is None
    assert kept.get(b"long") is not None
    counts = kept.counts()
    assert (counts.hits, counts.misses, counts.expirations, counts.evictions) == (2, 1, 1, 0)
    assert counts.entries == 1


def test_prefixes_are_removed_together() -> None:
    kept = store()
    for key in (b"one-a", b"one-b", b"two-a"):
        kept.put(key, key, 1)
    assert kept.discard_prefix(b"one") == 2
    assert kept.get(b"one-a") is None
    assert kept.get(b"two-a") is not None
    kept.discard(b"two-a")
    kept.discard(b"two-a")
    assert kept.counts()[-2:] == (0, 0)


@pytest.mark.parametrize(("entries", "size"), [(0, 1), (1, 0), (-1, 1)])
def test_no_room_is_an_error(entries: int, size: int) -> None:
    with pytest.raises(ConfigError, match="needs room"):
        store(entries=entries, size=size)


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan")])
def test_a_time_to_live_that_is_none_is_an_error_and_changes_nothing(ttl: float) -> None:
    kept = store()
    kept.put(b"a", 1, 1)
    with pytest.raises(ConfigError, match="must be positive"):
        kept.put(b"a", 2, 1, ttl=ttl)
    entry = kept.get(b"a")
    assert entry is not None
    assert entry.item == 1


@pytest.mark.parametrize("policy", [LRU, Adaptive])
def test_threads_see_only_what_was_put_and_lose_no_count(policy: type[LRU] | type[Adaptive]) -> None:
    kept: BoundedStore[int] = BoundedStore(policy(), 50, 1 << 20, Clock())
    rounds, threads = 3000, 4
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        number = seed
        for _ in range(rounds):
            number = (number * 1103515245 + 12345) % (1 << 31)
            name = number % 120
            entry = kept.get(b"%d" % name)
            if entry is None:
                kept.put(b"%d" % name, name, 1)
            elif entry.item != name:
                wrong.append((name, entry.item))
            if name == 7:
                kept.discard(b"7")

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts = kept.counts()
    assert wrong == []
    assert counts.hits + counts.misses == rounds * threads
    assert counts.entries <= 50
    assert counts.bytes == counts.entries * (ENTRY_BYTES + 1)
    assert rounds > LATE


def test_a_smaller_limit_lets_the_next_to_leave_go_and_a_larger_one_none() -> None:
    kept = store(entries=4)
    for key in (b"a", b"b", b"c", b"d"):
        kept.put(key, key.decode(), 1)
    assert kept.get(b"a") is not None
    assert [key for key, _ in kept.resize(2)] == [b"b", b"c"]
    assert kept.counts().evictions == 2
    assert kept.resize(3) == []
    assert kept.most_entries == 3
    assert kept.put(b"e", "e", 1) == []
    assert [key for key, _ in kept.put(b"f", "f", 1)] == [b"d"]
    with pytest.raises(ConfigError, match="got 0 entries"):
        kept.resize(0)
