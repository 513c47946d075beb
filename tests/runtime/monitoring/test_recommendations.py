"""Every recommendation rests on figures, follows from them, and stays away without them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.cache.levels.base import LevelCounts
from grandopt.runtime.cache.stats import CacheStats, LevelStats
from grandopt.runtime.monitoring.metrics import Metrics
from grandopt.runtime.monitoring.recommendations.advice import Advice, Recommendations
from grandopt.runtime.monitoring.recommendations.recommend import recommend
from grandopt.runtime.monitoring.sources import AgentSource, Looks
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.signature import Contract, Signature, TensorSpec
from tests.runtime.monitoring.serving import Clock, Service, monitor

COST = BatchCost(per_observation_ns=1_000, fixed_ns=20_000, single_ns=21_000)
CORES = 4.0


def looked(
    service: Service,
    serve: Callable[[Service], object],
    *,
    cores: float = 0.5,
    memory: int = 100 << 20,
    **parts: object,
) -> Metrics:
    """The second look at a service that did something in between, ten seconds long."""
    clock = Clock()
    watch = monitor(clock)
    source = AgentSource("gate", service.stats, **{"cost": lambda: COST, **parts})
    watch.watch(source)
    watch.look()
    serve(service)
    clock.now += 10
    metrics = watch.look()
    process = replace(
        metrics.process, cores=cores, granted=CORES, resident=memory, memory_limit=1 << 30, gpus=()
    )
    return replace(metrics, process=process)


def only(found: Recommendations) -> Advice:
    (advice,) = found.advice
    assert advice.evidence
    assert advice.expected
    return advice


def test_a_limit_that_is_too_small() -> None:
    service = Service(BatchSettings(limit=8))
    advice = only(recommend(looked(service, lambda it: it.serve(80_000, rows=8, ns=300_000))))
    assert (advice.code, advice.setting, advice.now, advice.to) == ("larger_batches", "limit", 8, 16)
    gain = (COST.of(8) / 8) / (COST.of(16) / 16) - 1
    assert f"up to {gain:.0%} more rows a second" in advice.expected
    assert advice.evidence["full"] == 10_000


def test_a_limit_that_gains_nothing_stays() -> None:
    service = Service(BatchSettings(limit=1024))
    metrics = looked(service, lambda it: it.serve(102_400, rows=1024, ns=300_000))
    assert recommend(metrics).advice == ()


def test_deadlines_missed_behind_long_batches() -> None:
    def serve(service: Service) -> None:
        service.serve(64_000, rows=64, ns=84_000, busy_ns=2_000_000_000)
        service.counts["missed"] += 3_000

    advice = only(recommend(looked(Service(BatchSettings(limit=64)), serve)))
    assert (advice.code, advice.now, advice.to) == ("smaller_batches", 64, 32)
    assert "52 µs in the place of 84 µs" in advice.expected


def test_deadlines_that_the_agent_cannot_meet() -> None:
    def serve(service: Service) -> None:
        service.serve(10_000, ns=40_000, busy_ns=400_000_000)
        service.rejected["deadline"] += 2_000

    advice = only(recommend(looked(Service(), serve)))
    assert (advice.code, advice.setting) == ("longer_deadlines", "deadline_s")
    assert advice.to == pytest.approx(40e-6, rel=1 / 16)
    assert "2000 of 12000 requests" in advice.text


def test_a_queue_that_refuses_bursts() -> None:
    def serve(service: Service) -> None:
        service.serve(10_000, rows=4, busy_ns=2_000_000_000)
        service.rejected["rows"] += 500

    advice = only(recommend(looked(Service(BatchSettings(limit=64, queue_rows=100)), serve)))
    assert (advice.code, advice.now, advice.to) == ("longer_queue", 100, 200)
    assert "busy 20%" in advice.text


def test_workers_without_time() -> None:
    def serve(service: Service) -> None:
        service.serve(10_000, rows=4, busy_ns=19_500_000_000)
        service.rejected["rows"] += 500

    service = Service(workers="threads")
    service.concurrency = 2
    advice = only(recommend(looked(service, serve, cores=2.0)))
    assert (advice.code, advice.now, advice.to) == ("more_workers", 2, 3)
    assert "at most 50% more throughput" in advice.expected
    advice = only(recommend(looked(Service(), lambda it: (serve(it), None), cores=4.0)))
    assert advice.code == "overloaded"
    assert advice.to == pytest.approx(1_000)


def test_worker_processes_that_rest() -> None:
    service = Service(workers="processes")
    service.concurrency = 4
    advice = only(recommend(looked(service, lambda it: it.serve(9_999, rows=3, busy_ns=2_000_000_000))))
    assert (advice.code, advice.now, advice.to) == ("fewer_workers", 4, 1)


def test_a_hop_that_costs_more_than_the_agent() -> None:
    service = Service(workers="threads")
    advice = only(recommend(looked(service, lambda it: it.serve(5_000, ns=90_000, busy_ns=1_000_000))))
    assert (advice.code, advice.to) == ("direct_calls", "inline")
    saved = float(re.search(r"up to ([\d.]+) µs", advice.expected)[1])
    assert saved == pytest.approx(90 - 21, rel=0.1)


def cache(hits: int, misses: int, p50: float) -> CacheStats:
    counts = LevelCounts(hits=hits, misses=misses, entries=10)
    return CacheStats((LevelStats("memory", True, counts, p50, None, None),), 0, 0)


def test_a_cache_that_costs_more_than_it_saves() -> None:
    stats = [cache(0, 0, 3e-6), cache(1_000, 9_000, 3e-6)]
    metrics = looked(Service(), lambda it: it.serve(9_000, ns=21_000), cache=lambda: stats.pop(0))
    advice = only(recommend(metrics))
    assert (advice.code, advice.to) == ("cache_that_costs", "off")
    assert "at least 0.9 µs less a request" in advice.expected
    stats = [cache(0, 0, 3e-6), cache(5_000, 5_000, 3e-6)]
    metrics = looked(Service(), lambda it: it.serve(5_000, ns=21_000), cache=lambda: stats.pop(0))
    assert recommend(metrics).advice == ()


def test_a_first_level_that_is_too_small() -> None:
    def levels(hits: int, below: int, evictions: int) -> CacheStats:
        first = LevelCounts(hits=hits, misses=10_000, evictions=evictions, entries=512)
        second = LevelCounts(hits=below, misses=100)
        return CacheStats(
            (
                LevelStats("memory", True, first, 1e-6, None, None),
                LevelStats("disk", True, second, 90e-6, None, None),
            ),
            0,
            0,
        )

    stats = [levels(0, 0, 0), levels(20_000, 9_900, 5_000)]
    metrics = looked(Service(), lambda it: it.serve(2_000, ns=21_000), cache=lambda: stats.pop(0))
    advice = only(recommend(metrics))
    assert (advice.code, advice.now, advice.to) == ("larger_cache", 512, 1024)
    assert "up to 89 µs less" in advice.expected


def test_memory_near_its_limit() -> None:
    advice = only(recommend(looked(Service(), lambda it: None, memory=1000 << 20)))
    assert (advice.code, advice.agent) == ("less_memory", None)
    assert "98% of what they may" in advice.text


def test_the_original_still_serves() -> None:
    metrics = looked(Service(), lambda it: it.serve(5_000, ns=100_000), original=lambda: "optimizing")
    advice = only(recommend(metrics))
    assert advice.code == "original_serves"
    assert "the original answers (optimizing), and computed 5.0%" in advice.text


def test_inputs_that_drifted_and_decisions_that_came_close() -> None:
    signature = Signature((TensorSpec("state", (2,)),), (TensorSpec("scores", (2,), role="scores"),))
    evidence = {
        "observations": {
            "origin": "checkpoint",
            "inputs": {"state": {"mean": [0, 0], "std": [1, 1], "rows": None}},
        },
        "margins": {"scores": {"limit": 0.1, "rows": 1000}},
    }
    looks = Looks.at(signature, Contract(action="argmax"), evidence)
    rng = np.random.default_rng(0)

    def serve(service: Service) -> None:
        service.serve(10)
        for _ in range(20):
            rows = rng.standard_normal((512, 2)).astype(np.float32)
            looks.drift.add((rows + np.float32([0, 2]),))
            looks.margins.add((1 + 0.05 * rows,))

    found = recommend(looked(Service(), serve, looks=looks))
    assert [advice.code for advice in found.advice] == ["drifted_inputs", "closer_decisions"]
    assert "from the checkpoint's own normaliser: state[1] by +2.0" in found.advice[0].text
    assert [silence.text for silence in found.silent] == [
        "10 requests in the last 10 s; 1000 are needed for advice on serving"
    ]


def test_without_figures_there_is_silence_with_its_reason() -> None:
    assert recommend(None) == Recommendations((), ())
    found = recommend(looked(Service(), lambda it: it.serve(999)))
    assert found.advice == ()
    assert [silence.text for silence in found.silent] == [
        "999 requests in the last 10 s; 1000 are needed for advice on serving"
    ]
    found = recommend(looked(Service(BatchSettings(limit=8)), lambda it: it.serve(8_000, rows=8), cost=None))
    assert found.advice == ()
    assert "the cost of a batch was not measured" in found.silent[0].text


@given(
    st.sampled_from(["inline", "threads", "processes"]),
    st.integers(1, 4),
    st.integers(0, 20_000),
    st.sampled_from([1, 8, 64]),
    st.integers(0, 10**10),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
    st.floats(0, CORES),
)
def test_any_figures_give_advice_that_can_be_followed(
    kind: str, size: int, served: int, rows: int, busy: int, missed: int, refused: int, cores: float
) -> None:
    def serve(service: Service) -> None:
        service.serve(served, rows=rows, busy_ns=busy)
        service.counts["missed"] += missed
        service.rejected["rows"] += refused

    service = Service(BatchSettings(limit=64), workers=kind)
    service.concurrency = size
    found = recommend(looked(service, serve, cores=cores))
    settings = [advice.setting for advice in found.advice]
    assert len(settings) == len(set(settings)), "two that contradict each other"
    for advice in found.advice:
        assert advice.evidence
        assert advice.now != advice.to
        if isinstance(advice.to, int) and advice.setting != "offered rate":
            assert advice.to >= 1
    assert bool(found.silent) == (
        served // rows * rows + missed + refused < 1000 and served + missed + refused < 1000
    )
