"""Levels that cost more than they save are left out."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from grandopt.runtime.cache.break_even import PATIENCE, PAUSE, SAMPLES, CacheBreakEven, Savings
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.lookup import STRIDE
from grandopt.runtime.cache.policies.lru import LRU
from tests.runtime.cache.clock import Clock

KEY = InputKeys("one").key([np.float32([1])])


def judged(break_even: CacheBreakEven, seconds: float, share: float, rounds: int = PATIENCE) -> None:
    for number in range(rounds * SAMPLES):
        break_even.looked_up(seconds, number % 100 < 100 * share)


@pytest.mark.parametrize(
    ("lookup", "share", "computing", "on"),
    [(1e-6, 1.0, 0.5e-6, False), (1e-6, 1.0, 2e-6, True), (1e-6, 0.1, 5e-6, False), (20e-6, 0.1, 1e-3, True)],
)
def test_it_pays_if_hits_save_more_than_look_ups_cost(
    caplog: pytest.LogCaptureFixture, lookup: float, share: float, computing: float, on: bool
) -> None:
    savings = Savings()
    break_even = CacheBreakEven("level memory", savings, Clock())
    savings.computed(computing)
    with caplog.at_level(logging.INFO):
        judged(break_even, lookup, share)
    assert break_even.on is on
    assert len(caplog.records) == (0 if on else 1)
    assert on or "cache level memory: off for 60 s, it does not pay" in caplog.text


def test_nothing_is_judged_before_a_computation_was_seen() -> None:
    break_even = CacheBreakEven("level disk", Savings(), Clock())
    judged(break_even, 1.0, 0.0, rounds=10 * PATIENCE)
    assert break_even.on


def test_one_good_spell_is_enough_to_stay() -> None:
    savings = Savings()
    savings.computed(1e-6)
    break_even = CacheBreakEven("level disk", savings, Clock())
    for _ in range(5):
        judged(break_even, 2e-6, 1.0, rounds=PATIENCE - 1)
        judged(break_even, 0.5e-6, 1.0, rounds=1)
    assert break_even.on


def test_it_may_try_again_after_pauses_that_grow() -> None:
    clock, savings = Clock(), Savings()
    savings.computed(1e-6)
    break_even = CacheBreakEven("level disk", savings, clock)
    for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE):
        judged(break_even, 2e-6, 1.0)
        clock.now += 0.99 * pause
        assert not break_even.on
        clock.now += 0.01 * pause
        assert break_even.on


class TickingClock(Clock):
    """Gets on by `takes` seconds each time that it is looked at: so long seems what is timed by it."""

    takes = 0.0

    def __call__(self) -> float:
        self.now += self.takes
        return self.now


@pytest.mark.parametrize(("takes", "pays"), [(2e-6, False), (0.5e-6, True)])
def test_a_hierarchy_leaves_memory_out_when_computing_is_as_fast(takes: float, pays: bool) -> None:
    clock = TickingClock()
    clock.takes = takes
    cache = Hierarchy([MemoryLevel(LRU(), 10, 1 << 20)], clock=clock)

    def compute() -> int:
        clock.now += 1e-6 - takes  # what times it looks at the clock once more
        return 7

    for _ in range(STRIDE * SAMPLES * (PATIENCE + 1)):
        assert cache.get_or_compute(KEY, compute) == 7
        if not cache.stats().levels[0].on:
            break
    assert cache.stats().levels[0].on is pays
    hits = cache.stats().levels[0].counts.hits
    assert hits > STRIDE * SAMPLES
    answer = object()  # could not be encoded: taken as it is while nothing pays
    for _ in range(10 * STRIDE):
        assert cache.get(KEY) == (7 if pays else None)
    assert cache.idle is not pays
    assert (cache.get_or_compute(KEY, lambda: answer) is answer) is not pays
    assert (cache.stats().levels[0].counts.hits - hits > STRIDE) is pays
    if not pays:
        clock.now += PAUSE + 1
        clock.takes = 0.5e-6
        for _ in range(2 * STRIDE):
            assert cache.get_or_compute(KEY, compute) == 7
        assert cache.stats().levels[0].on
        assert cache.get(KEY) == 7
    cache.close()
