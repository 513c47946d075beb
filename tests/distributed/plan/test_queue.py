"""The formula against what is known of such queues, and the simulation against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.distributed.plan.bulk_queue import formula, latencies
from grandopt.distributed.plan.replica import Burst
from grandopt.distributed.plan.simulation import poisson_ns, simulate
from grandopt.distributed.plan.stalls import Pauses, Stalls, watch
from tests.distributed.plan.replicas import inline, threads

REQUESTS = 30_000


def simulated(replica: object, rate: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return simulate(replica, poisson_ns(rate, REQUESTS, rng), rng)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_batches_of_one_are_the_queue_of_pollaczek_and_khinchine(load: float) -> None:
    service = 10_000.0
    found = latencies(load * 1e9 / service, np.array([service]))
    assert found is not None
    assert found.mean_ns == pytest.approx(service * (1 + load / (2 * (1 - load))), rel=0.03)
    assert found.busy == pytest.approx(load, rel=0.01)


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_the_mean_of_unlimited_batches_is_that_of_inoue(load: float) -> None:
    each, fixed = 4_000.0, 100_000.0
    rate = load / each
    occupied = each * np.arange(1, 1025) + fixed
    found = latencies(rate * 1e9, occupied[:512])
    assert found is not None
    squared = rate * rate * each * each
    mean = 1.5 * fixed / (1 - load) + each / 2 * (load + 2) / (1 - squared)
    assert found.mean_ns == pytest.approx(mean, rel=0.03)


def test_more_than_can_be_served_has_no_latency() -> None:
    assert latencies(1e9 / 9_999.0, np.array([10_000.0])) is None


@pytest.mark.parametrize("load", [0.2, 0.7, 0.95])
def test_simulated_turns_are_as_the_formula_says(load: float) -> None:
    # All answers of a turn at its end, as in the formula.
    bursts = [Burst(rows, last, last) for rows in (1, 64) for last in (4_000.0 * rows + 40_000.0,)]
    whole = inline(bursts=tuple(bursts))
    rate = load * whole.highest_rate
    theory = formula(whole, rate)
    assert theory is not None
    found = simulated(whole, rate)
    for percent in (50, 99):
        assert np.percentile(found, percent) == pytest.approx(theory.percentile_ns(percent), rel=0.12)


def test_answers_within_a_turn_come_one_after_the_other() -> None:
    replica = inline(1_000.0, 9_000.0)
    due = np.zeros(4)
    latency = simulate(replica, due, np.random.default_rng(0))
    assert latency.tolist() == [10_000.0, 11_000.0, 12_000.0, 13_000.0]


def test_idle_workers_share_what_waits_as_the_engine_does() -> None:
    rng = np.random.default_rng(0)
    replica = threads(workers=2, limit=16)
    # 8 at once: 4 for each of two workers, as computing them takes longer than what is fixed.
    shared = simulate(replica, np.zeros(8), rng)
    assert shared.max() == pytest.approx(4 * 100_000 + 200_000)
    # 2 at once: one for each would take as long as what is fixed, so one worker takes both.
    assert simulate(replica, np.zeros(2), rng).max() == pytest.approx(2 * 100_000 + 200_000)


def test_a_batch_has_no_more_than_the_limit() -> None:
    replica = threads(workers=1, limit=4)
    latency = simulate(replica, np.zeros(8), np.random.default_rng(0))
    assert sorted(set(np.round(latency))) == [600_000.0, 1_200_000.0]


def test_stalls_hold_up_whatever_is_computed() -> None:
    stalls = Stalls(1e-3, np.array([100_000, 500_000]), np.array([50_000, 10_000]))
    pauses = Pauses(stalls, 0.0)
    assert pauses.ready(120_000.0) == 150_000.0
    assert pauses.worked(480_000.0, 40_000.0) == 530_000.0
    assert pauses.ready(1_100_001.0) == 1_150_000.0  # the second turn of what was seen


def test_stalls_take_their_share_of_what_can_be_served() -> None:
    stalls = Stalls(1e-2, np.arange(10) * 1_000_000, np.full(10, 100_000))
    replica = inline(stalls=stalls)
    assert replica.sustained_rate == pytest.approx(0.9 * replica.highest_rate)
    quiet, held_up = simulated(inline(), 1e4), simulated(replica, 1e4)
    assert np.percentile(held_up, 99) > np.percentile(quiet, 99) + 50_000


def test_a_watch_sees_where_the_clock_jumps() -> None:
    moments = iter([0, 100, 200, 60_000, 60_100, 1_000_000])
    found = watch(1e-3, lambda: next(moments))
    assert found.at_ns.tolist() == [200, 60_100]
    assert found.took_ns.tolist() == [59_800, 939_900]
    assert (found + found).at_ns.tolist() == [200, 60_100, 1_000_200, 1_060_100]
