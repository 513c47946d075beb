"""All levels as one cache."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.errors import CacheError, ConfigError
from grandopt.runtime.cache.asynchronous import AsyncHierarchy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys, prefix_of
from grandopt.runtime.cache.levels.base import CacheLevel
from grandopt.runtime.cache.levels.compressed import CompressedLevel
from grandopt.runtime.cache.levels.disk import DiskLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.policies.lru import LRU

KEYS = [InputKeys("one").key([np.float32([number])]) for number in range(40)]
OTHER = InputKeys("two").key([np.float32([0])])
PATIENCE_S = 20.0


def levels_in(folder: Path, entries: int = 100) -> list[CacheLevel]:
    return [
        MemoryLevel(LRU(), entries, 1 << 20),
        CompressedLevel(LRU(), entries, 1 << 20),
        DiskLevel(folder / "cache", 1 << 24),
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Hierarchy]:
    with Hierarchy(levels_in(tmp_path)) as made:
        yield made


def hits(cache: Hierarchy) -> list[int]:
    return [level.counts.hits for level in cache.stats().levels]


def test_what_leaves_memory_is_found_below_and_comes_back_up(tmp_path: Path) -> None:
    levels = levels_in(tmp_path, entries=2)
    with Hierarchy(levels) as cache:
        for number in range(3):
            cache.put(KEYS[number], number)
        assert [levels[0].holds(key) for key in KEYS[:3]] == [False, True, True]
        assert levels[1].holds(KEYS[0])
        assert cache.get(KEYS[0]) == 0
        assert hits(cache) == [0, 1, 0]
        assert levels[0].holds(KEYS[0])
        assert levels[1].holds(KEYS[1])
        assert cache.get(KEYS[0]) == 0
        assert hits(cache) == [1, 1, 0]


def test_close_writes_everything_and_a_later_cache_finds_it(tmp_path: Path) -> None:
    with Hierarchy(levels_in(tmp_path)) as cache:
        cache.put_many({key: np.full(3, number) for number, key in enumerate(KEYS)})
    with Hierarchy(levels_in(tmp_path)) as cache:
        found = cache.get_many([*KEYS, OTHER])
        assert [int(value[0]) for value in found[:-1]] == list(range(len(KEYS)))
        assert found[-1] is None
        assert hits(cache) == [0, 0, len(KEYS)]
        cache.get(KEYS[0])
        assert hits(cache) == [1, 0, len(KEYS)]
        cache.close()


def _reshape_in_place(array: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's, since 2.5; callers still can
        array.shape = (2, 2)


@pytest.mark.parametrize("place", ["memory", "compressed", "disk"])
def test_no_caller_can_change_what_is_kept(tmp_path: Path, place: str) -> None:
    levels = levels_in(tmp_path)
    with Hierarchy(levels) as cache:
        mine = {"array": np.ones(4), "list": [1, [2]], "tensor": torch.ones(3)}
        cache.put(KEYS[0], mine)
        cache.put(KEYS[1], np.ones(4, np.float32))
        mine["array"][0] = 7
        cache.flush()
        for key in KEYS[:2]:
            if place != "memory":
                item = levels[0].get(key)
                assert item is not None
                levels[0].discard(key)
                if place == "compressed":
                    levels[1].put(key, item.data)
        got = cache.get(KEYS[0])
        got["list"][1].append(3)
        got["tensor"].zero_()
        del got["array"]
        got["new"] = 1
        again = cache.get(KEYS[0])
        assert list(again) == ["array", "list", "tensor"]
        assert again["array"].tolist() == [1.0] * 4
        assert again["list"] == [1, [2]]
        assert again["tensor"].tolist() == [1.0] * 3
        array = cache.get(KEYS[1])
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        _reshape_in_place(array)
        assert cache.get(KEYS[1]).shape == (4,)
        reached: Any = cache.get(KEYS[1])
        while isinstance(reached, np.ndarray):  # all that can be reached from what a caller gets
            with pytest.raises(ValueError, match="WRITEABLE"):
                reached.flags.writeable = True
            if reached.size == 4:
                _reshape_in_place(reached)
            reached = reached.base
            assert cache.get(KEYS[1]).shape == (4,)
            assert cache.get(KEYS[1]).tolist() == [1.0] * 4
        assert isinstance(reached, bytes)


def test_a_computed_value_is_what_a_hit_gives(cache: Hierarchy) -> None:
    first = cache.get_or_compute(KEYS[0], lambda: np.arange(3))
    second = cache.get_or_compute(KEYS[0], lambda: pytest.fail("computed again"))
    assert not first.flags.writeable
    np.testing.assert_array_equal(first, second)
    assert cache.stats().computed == 1


def test_none_and_failures_are_not_kept(cache: Hierarchy) -> None:
    answers: Iterator[Any] = iter([None, ValueError("no"), 5])

    def compute() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert cache.get_or_compute(KEYS[0], compute) is None
    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute(KEYS[0], compute)
    assert cache.get_or_compute(KEYS[0], compute) == 5
    cache.put(KEYS[1], None)
    assert cache.get(KEYS[1]) is None


def in_threads(count: int, work: Any) -> list[Any]:
    """What `work(number)` gives or raises in threads that run at once."""
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except (ValueError, CacheError) as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return results


def test_concurrent_misses_compute_once(cache: Hierarchy) -> None:
    runs: list[int] = []

    def compute() -> list[int]:
        runs.append(1)
        time.sleep(0.05)
        return [1]

    results = in_threads(8, lambda number: cache.get_or_compute(KEYS[0], compute))
    assert results == [[1]] * 8
    assert len(runs) == 1
    assert len({id(result) for result in results}) == 8


def test_when_the_one_that_computes_fails_the_next_one_does(cache: Hierarchy) -> None:
    runs: list[int] = []

    def compute() -> int:
        runs.append(1)
        time.sleep(0.02)
        if len(runs) < 3:
            raise ValueError(f"run {len(runs)}")
        return 9

    results = in_threads(6, lambda number: cache.get_or_compute(KEYS[0], compute))
    assert sorted(str(result) for result in results) == ["9"] * 4 + ["run 1", "run 2"]
    assert len(runs) == 3


def test_a_computation_that_asks_for_itself_is_told_so(cache: Hierarchy) -> None:
    def compute() -> Any:
        return cache.get_or_compute(KEYS[0], lambda: 1)

    with pytest.raises(CacheError, match="waits for itself"):
        cache.get_or_compute(KEYS[0], compute)
    assert cache.get_or_compute(KEYS[0], lambda: 2) == 2


def test_awaited_misses_compute_once_and_cancellation_passes_on(cache: Hierarchy) -> None:
    runs: list[int] = []

    async def compute() -> int:
        runs.append(1)
        await asyncio.sleep(0.05)
        return len(runs)

    async def scene() -> list[int]:
        awaited = AsyncHierarchy(cache)
        tasks = [asyncio.create_task(awaited.get_or_compute(KEYS[0], compute)) for _ in range(6)]
        while not runs:
            await asyncio.sleep(0.001)
        leader, waiter, *others = tasks
        leader.cancel()
        waiter.cancel()
        results = await asyncio.wait_for(asyncio.gather(*others), PATIENCE_S)
        assert leader.cancelled() or isinstance(leader.exception(), asyncio.CancelledError)
        await awaited.flush()
        assert await awaited.get(KEYS[0]) == 2
        awaited.close()
        return results

    assert asyncio.run(scene()) == [2] * 4
    assert len(runs) == 2


def test_threads_and_event_loops_share_one_computation(cache: Hierarchy) -> None:
    started, finish = threading.Event(), threading.Event()

    def compute() -> str:
        started.set()
        assert finish.wait(PATIENCE_S)
        return "once"

    async def refuse() -> str:
        raise AssertionError("computed twice")

    async def scene() -> str:
        awaited = AsyncHierarchy(cache)
        assert started.wait(PATIENCE_S)
        task = asyncio.create_task(awaited.get_or_compute(KEYS[0], refuse))
        await asyncio.sleep(0.02)
        assert not task.done()
        finish.set()
        result = await asyncio.wait_for(task, PATIENCE_S)
        awaited.close()
        return str(result)

    thread = threading.Thread(target=cache.get_or_compute, args=(KEYS[0], compute))
    thread.start()
    assert asyncio.run(scene()) == "once"
    thread.join(PATIENCE_S)


class SlowDisk(DiskLevel):
    """A disk whose look-ups wait until the test lets them go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 1 << 24)
        self.go = threading.Event()

    def get(self, key: bytes) -> Any:
        assert self.go.wait(PATIENCE_S)
        return super().get(key)


def test_the_event_loop_goes_on_while_a_disk_is_slow(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path / "cache")
    with Hierarchy([MemoryLevel(LRU(), 10, 1 << 20), disk]) as cache:

        async def scene() -> None:
            awaited = AsyncHierarchy(cache)
            task = asyncio.create_task(awaited.get(KEYS[0]))
            await asyncio.sleep(0.02)
            assert not task.done()
            await awaited.put(KEYS[1], 1)
            assert await awaited.get(KEYS[1]) == 1
            disk.go.set()
            assert await asyncio.wait_for(task, PATIENCE_S) is None
            await awaited.put_many({KEYS[2]: 2, KEYS[3]: 3})
            assert await awaited.get_many(KEYS[1:5]) == [1, 2, 3, None]
            assert await awaited.invalidate(prefix_of("one")) >= 3
            awaited.close()

        asyncio.run(scene())


def test_a_full_queue_drops_writes_and_says_so(tmp_path: Path) -> None:
    hold = threading.Event()

    class HeldDisk(DiskLevel):
        def put_many(self, items: Any) -> None:
            assert hold.wait(PATIENCE_S)
            super().put_many(items)

    with Hierarchy(
        [MemoryLevel(LRU(), 100, 1 << 20), HeldDisk(tmp_path / "cache", 1 << 24)], queue=4
    ) as cache:
        for number, key in enumerate(KEYS):
            cache.put(key, number)
        assert not cache.flush(timeout=0.01)
        dropped = cache.stats().dropped
        assert 0 < dropped < len(KEYS)
        hold.set()
        assert cache.flush(PATIENCE_S)
        assert cache.stats().levels[-1].counts.entries == len(KEYS) - dropped
        assert cache.get(KEYS[-1]) == len(KEYS) - 1


def test_a_new_version_removes_the_old_entries_everywhere(tmp_path: Path) -> None:
    levels = levels_in(tmp_path, entries=3)
    with Hierarchy(levels) as cache:
        for key in (*KEYS[:6], OTHER):
            cache.put(key, 1)
        cache.flush()
        assert cache.invalidate(prefix_of("one")) >= 6
        assert cache.get_many(KEYS[:6]) == [None] * 6
        assert cache.get(OTHER) == 1
        cache.put(KEYS[0], 2)
        assert cache.get(KEYS[0]) == 2


def test_what_is_computed_while_it_becomes_invalid_is_not_kept(cache: Hierarchy) -> None:
    def compute() -> int:
        cache.invalidate(prefix_of("one"))
        return 4

    assert cache.get_or_compute(KEYS[0], compute) == 4
    cache.flush()
    assert cache.get(KEYS[0]) is None


def test_bad_input_is_one_error_and_loses_nothing(cache: Hierarchy) -> None:
    cache.put(KEYS[0], 1)
    with pytest.raises(CacheError, match="cannot be cached"):
        cache.put(KEYS[0], object())
    with pytest.raises(CacheError, match="cannot be cached"):
        cache.put_many({KEYS[1]: 1, KEYS[2]: {2}})
    with pytest.raises(CacheError, match="cannot be cached"):
        cache.get_or_compute(KEYS[1], object)
    with pytest.raises(ConfigError, match="must be positive"):
        cache.put(KEYS[0], 2, ttl=-1)
    with pytest.raises(ConfigError, match="must be positive"):
        cache.get_or_compute(KEYS[1], lambda: 1, ttl=0)
    assert cache.get_many(KEYS[:3]) == [1, None, None]
    with pytest.raises(ConfigError, match="begins with a memory level"):
        Hierarchy([])
    with pytest.raises(ConfigError, match="needs room"):
        Hierarchy([MemoryLevel(LRU(), 1, 1)], queue=0)


def test_look_up_times_are_told_for_each_level(cache: Hierarchy) -> None:
    for number in range(300):
        cache.get_or_compute(KEYS[number % 20], lambda: 1)
    for level in cache.stats().levels:
        assert level.on
        assert level.p50 is not None
        assert level.p99 is not None
        assert level.p999 is not None
        assert 0 < level.p50 <= level.p99 <= level.p999


def test_what_leaves_a_smaller_memory_is_found_below() -> None:
    memory = MemoryLevel(LRU(), 10, 1 << 20)
    below = CompressedLevel(LRU(), 100, 1 << 20)
    with Hierarchy([memory, below], must_pay=False) as cache:
        for number in range(10):
            cache.put(b"%32d" % number, number)
        cache.resize_memory(4)
        assert cache.memory_entries == 4
        assert memory.counts().entries == 4
        assert [cache.get(b"%32d" % number) for number in range(10)] == list(range(10))
