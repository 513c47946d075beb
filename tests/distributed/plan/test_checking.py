"""The search for what a replica carries by load, and what a check comes to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.distributed.plan.checking import Checked, CheckedLoad
from grandopt.distributed.plan.runs import Runs, rising
from grandopt.errors import MeasurementError
from grandopt.measurement.load.result import LoadResult, Outcome
from tests.distributed.plan.replicas import inline

LIMIT_NS = 5e6
RATES = [1000.0, 1100.0, 1200.0, 1300.0, 1400.0]


def run_of(rate: float, late: float, answered: float = 1.0) -> LoadResult:
    """A second of so many requests, of which a share comes late, and a share is answered."""
    due = np.linspace(0, 1e9, int(rate), endpoint=False).astype(np.int64)
    took = np.where(np.arange(due.size) < late * due.size, 2 * LIMIT_NS, LIMIT_NS / 2).astype(np.int64)
    ended = np.where(np.arange(due.size) < answered * due.size, due + took, -1)
    outcomes = np.where(ended < 0, Outcome.LOST, Outcome.ANSWERED).astype(np.uint8)
    return LoadResult("open loop", due, due, ended, outcomes, np.ones(due.size, np.uint8), (0, 10**9))


def runs_of(late: list[float]) -> Runs:
    runs = Runs(RATES, [LIMIT_NS, 4 * LIMIT_NS])
    for rate, share in zip(RATES, late, strict=True):
        runs.add(rate, run_of(rate, share))
    return runs


def between(place: int) -> object:
    return pytest.approx(np.sqrt(RATES[place] * RATES[place + 1]))


def test_the_border_is_between_what_keeps_the_limit_and_what_does_not() -> None:
    assert runs_of([0.0, 0.005, 0.02, 0.1, 1.0]).highest_kept(LIMIT_NS) == between(1)


def test_the_same_runs_tell_of_each_limit() -> None:
    runs = runs_of([0.0, 0.005, 0.02, 0.1, 1.0])
    runs.add(1400.0, run_of(1400.0, 0.0, answered=0.5))
    assert runs.highest_kept(4 * LIMIT_NS) == between(3)


def test_all_runs_of_a_rate_count_together() -> None:
    runs = runs_of([0.0, 0.0, 0.0, 1.0, 1.0])
    for _ in range(9):
        runs.add(1200.0, run_of(1200.0, 0.012))  # together 1.1 % are late
    assert runs.highest_kept(LIMIT_NS) == between(1)


def test_a_slow_moment_counts_as_one_of_all_rates_around() -> None:
    assert runs_of([0.0, 0.02, 0.0, 0.0, 1.0]).highest_kept(LIMIT_NS) == between(3)
    assert runs_of([0.0, 0.2, 0.0, 0.0, 1.0]).highest_kept(LIMIT_NS) == between(0)


def test_what_is_not_sustained_is_not_kept() -> None:
    runs = runs_of([0.0, 0.0, 0.0, 0.0, 1.0])
    for _ in range(2):
        runs.add(1300.0, run_of(1300.0, 0.0, answered=0.9))
    assert runs.highest_kept(LIMIT_NS) == between(2)


def test_too_few_requests_say_nothing() -> None:
    runs = Runs([100.0, 1000.0], [LIMIT_NS])
    runs.add(100.0, run_of(100.0, 0.0))
    runs.add(1000.0, run_of(1000.0, 1.0))
    with pytest.raises(MeasurementError, match="100 requests are too few for a p99"):
        runs.highest_kept(LIMIT_NS)


@pytest.mark.parametrize(
    ("late", "said"), [(1.0, "no rate from 1000 to 1400"), (0.0, "every rate from 1000")]
)
def test_a_limit_that_none_or_all_keep_is_said(late: float, said: str) -> None:
    with pytest.raises(MeasurementError, match=said + ".* kept a p99 of 5 ms by load"):
        runs_of([late] * 5).highest_kept(LIMIT_NS)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 10)), min_size=1, max_size=12))
def test_what_rises_is_nearest_to_what_was_given(pairs: list[tuple[float, float]]) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    found = np.array(rising(values.tolist(), weights.tolist()))
    assert (np.diff(found) >= -1e-12).all()
    assert np.dot(found, weights) == pytest.approx(np.dot(values, weights))
    # The projection on a convex cone: what is left is orthogonal to it, and nothing of the cone is nearer.
    assert np.dot((values - found) * weights, found) == pytest.approx(0.0, abs=1e-9)
    for place in range(len(pairs)):
        assert np.dot((values - found)[place:], weights[place:]) <= 1e-9


@pytest.mark.parametrize(
    ("found", "off", "holds"), [(90.0, -0.1, True), (114.0, 0.14, True), (80.0, -0.2, False)]
)
def test_replicas_are_compared_before_they_are_rounded(found: float, off: float, holds: bool) -> None:
    load = CheckedLoad(p99_ms=5.0, qps=150.0, planned_rate=100.0, formula_rate=100.0, found_rate=found)
    assert load.planned == 1.5
    assert load.off == pytest.approx(off)
    assert load.holds is holds
    assert Checked(inline(), (load,), busy=False).holds is holds
