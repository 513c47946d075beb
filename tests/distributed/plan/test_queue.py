"""The formula against what is known of such queues, and the simulation against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.distributed.plan.bulk_queue import formula, latencies
from grandopt.distributed.plan.pace import Pace
from grandopt.distributed.plan.replica import Turn
from grandopt.distributed.plan.simulation import poisson_ns, settled, simulate
from tests.distributed.plan.replicas import inline, threads

REQUESTS = 30_000


def simulated(replica: object, rate: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return settled(simulate(replica, poisson_ns(rate, REQUESTS, rng), rng))


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
    turns = [Turn(rows, whole, whole, whole) for rows in (1, 64) for whole in (4_000.0 * rows + 40_000.0,)]
    whole = inline(turns=tuple(turns))
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


def test_a_slow_stretch_holds_up_whatever_is_computed() -> None:
    # Half a second, of which 50 ms do nothing, and a tenth of a second at half the speed.
    pace = Pace(np.array([2e8, 5e7, 1.5e8, 1e8]), np.array([2e8, 1.0, 1.5e8, 5e7]))
    replica = inline(40_000.0, 60_000.0, pace=pace)
    rng = np.random.default_rng(0)
    latency = simulate(replica, np.array([0.0, 1.9995e8, 2.1e8, 4.1e8]), rng, begins=0.0)
    assert latency.tolist() == pytest.approx([1e5, 1e5 + 5e7, 4e7 + 1e5 - 5e4 + 1e5, 2e5], rel=1e-3)


def test_a_backlog_is_worked_off_at_the_pace_that_there_is() -> None:
    slow = inline(pace=Pace(np.array([1e6]), np.array([5e5])))
    usual, halved = simulated(inline(), 5e3), simulated(slow, 2.5e3)
    for percent in (50, 99):  # twice the time and half the requests: the same, but for the unit
        assert np.percentile(halved, percent) == pytest.approx(2 * np.percentile(usual, percent), rel=0.05)


def test_slow_moments_take_their_share_of_what_can_be_served() -> None:
    pace = Pace(np.tile([1e6, 1e5], 100), np.tile([1e6, 1.0], 100))
    replica = inline(pace=pace)
    assert replica.sustained_rate == pytest.approx(replica.highest_rate / 1.1, rel=1e-4)
    quiet, held_up = simulated(inline(), 1e4), simulated(replica, 1e4)
    assert np.percentile(held_up, 99) > np.percentile(quiet, 99) + 50_000


def test_the_first_and_the_last_answer_of_a_turn_may_come_after_its_end() -> None:
    """Where requests pass through several turns of the loop, others are under way meanwhile."""
    replica = inline(turns=(Turn(1, 1_000.0, 2_500.0, 2_500.0), Turn(4, 2_000.0, 4_000.0, 6_000.0)))
    latency = simulate(
        replica, np.array([0.0, 10_000.0, 10_000.0, 10_000.0, 10_000.0]), np.random.default_rng(0)
    )
    assert latency[0] == pytest.approx(2_500.0)
    assert latency[1:].tolist() == pytest.approx([4_000.0, 4_000 + 2_000 / 3, 4_000 + 4_000 / 3, 6_000.0])
