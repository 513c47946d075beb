"""The cache's size, moved by what it does to all answers, hits among them."""

from __future__ import annotations

import asyncio
import random

import numpy as np

from grandopt.runtime.adaptation.controller import Controller
from grandopt.runtime.adaptation.evidence import Evidence, Reading
from grandopt.runtime.adaptation.knobs import cache_entries, collector_young, powers
from grandopt.runtime.adaptation.readings import BatcherReader
from grandopt.runtime.adaptation.trial import Verdict
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.runtime.histogram import LatencyHistogram
from grandopt.runtime.memory.collector import Collector
from tests.runtime.adaptation.test_tuner import batcher_of

HIT_NS, MISS_NS = 2_000, 400_000


class CachedService:
    """Calls one after another in virtual time, through a real cache; `keys` different ones are asked for."""

    def __init__(self, entries: int, keys: int) -> None:
        self.cache = Hierarchy([MemoryLevel(LRU(), entries, 1 << 24)], must_pay=False)
        self._keys, self._draw = keys, random.Random(5)
        self._latency, self.now = LatencyHistogram(), 0

    def run(self, seconds: float) -> None:
        end = self.now + int(seconds * 1e9)
        while self.now < end:
            key = b"%32d" % self._draw.randrange(self._keys)
            took = HIT_NS
            if self.cache.get(key) is None:
                took = MISS_NS
                self.cache.put(key, 1)
            self._latency.record(took)
            self.now += took + 20_000

    def pull(self) -> Reading:
        first = self.cache.stats().levels[0].counts
        return Reading(
            self.now,
            self._latency.snapshot(),
            evictions=first.evictions or 0,
            lookups=first.hits + first.misses,
        )


def tuned(entries: int, keys: int, seconds: float) -> tuple[CachedService, Controller]:
    service = CachedService(entries, keys)
    cache = service.cache
    knob = cache_entries(lambda: cache.memory_entries, cache.resize_memory, 8 * entries)
    controller = Controller("gate", service.pull, [knob])
    delay = controller.step()
    while service.now < seconds * 1e9:
        service.run(delay)
        delay = controller.step()
    return service, controller


def test_a_cache_that_throws_out_what_is_asked_for_again_grows() -> None:
    service, controller = tuned(50, 190, 10.0)
    assert service.cache.memory_entries == 200
    assert [d.verdict for d in controller.log.last()].count(Verdict.KEPT) == 2


def test_a_cache_that_holds_everything_stays() -> None:
    service, controller = tuned(200, 150, 2.0)
    assert service.cache.memory_entries == 200
    assert controller.log.last() == ()


def test_hits_count_as_answers() -> None:
    async def serve() -> None:
        batcher = batcher_of(limit=4)
        cache = Hierarchy([MemoryLevel(LRU(), 10, 1 << 20)], must_pay=False)
        with Collector() as collector:
            reader = BatcherReader(batcher, lambda: 7, cache=cache, collector=collector)
            await batcher.infer((np.ones(2, np.float32),))
            assert reader.read().latency.total == 1
            cache.put(bytes(32), 1)
            for _ in range(5):
                assert cache.get(bytes(32)) == 1
            cache.get(b"x" * 32)
            reading = reader.read()
            assert reading.latency.total == 6
            assert (reading.lookups, reading.evictions, reading.at_ns) == (6, 0, 7)
            assert reader.read().latency.total == 6
            knob = collector_young(lambda: collector.young, collector.retune)
            knob.set(25_000)
            assert knob.get() == 25_000
        quiet, paused = (Evidence(Reading(0), Reading(10**9, paused_ns=spent)) for spent in (0, 10**7))
        assert knob.candidates(quiet) == []
        assert knob.candidates(paused) == [
            ("higher", 50_000),
            ("lower", 12_500),
            ("much higher", 100_000),
            ("much lower", 6_250),
        ]
        await batcher.close()

    asyncio.run(serve())


def test_powers_end_where_they_should() -> None:
    assert powers(1, 1) == (1,)
    assert powers(1, 6) == (1, 2, 4, 6)
    assert powers(50, 400) == (50, 100, 200, 400)
