"""The sequential test: its quantiles, its outcomes, and how often it is wrong where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grandopt.measurement.compare.sequential import (
    ALPHA,
    FEWEST,
    MOST,
    Judgement,
    PairedEvidence,
    bootstrap,
    judge,
    looks,
    quantile,
)

LIMIT = 0.05


def evidence(change: list[float], noise: list[float] | None = None) -> PairedEvidence:
    return PairedEvidence(tuple(change), tuple(noise or [0.0] * len(change)))


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [  # published tables of Student's t
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 3, 3.1824),
        (0.975, 4, 2.7764),
        (0.999, 3, 10.2145),
        (0.995, 19, 2.8609),
        (0.9995, 30, 3.6460),
        (0.975, 100, 1.98397),
        (0.9995, 120, 3.3735),
        (0.975, 9_999, 1.9602),
    ],
)
def test_quantiles_are_those_of_the_tables(share: float, freedom: int, expected: float) -> None:
    assert quantile(share, freedom) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("most", [FEWEST, 5, 13, 14, MOST, 100])
def test_looks_rise_and_end_with_the_last_process(most: int) -> None:
    found = looks(most)
    assert list(found) == sorted(set(found))
    assert found[-1] == most


@pytest.mark.parametrize(
    ("change", "outcome"), [(0.0, "pass"), (0.10, "regression"), (-0.30, "pass"), (0.05, "inconclusive")]
)
def test_outcomes(change: float, outcome: str) -> None:
    values = [math.log1p(change) + step for step in (-0.004, 0.004, -0.002, 0.002)]
    found = judge(evidence(values), LIMIT, MOST)
    assert found.outcome == outcome
    assert found.low < found.change < found.high
    assert found.change == pytest.approx(change, abs=1e-9)


def test_the_wider_of_the_two_spreads_decides() -> None:
    quiet, noisy = [0.0, 0.0001, -0.0001, 0.0], [0.05, -0.05, 0.04, -0.04]
    assert judge(evidence(quiet), LIMIT, MOST).outcome == "pass"
    found = judge(evidence(quiet, noisy), LIMIT, MOST)
    assert found.outcome == "inconclusive"
    assert found.noise > LIMIT


def test_two_copies_that_differ_by_more_than_the_limit_decide_nothing() -> None:
    slower = [0.30, 0.301, 0.299, 0.30]
    found = judge(evidence(slower, [0.2, 0.201, 0.199, 0.2]), LIMIT, MOST)
    assert found.outcome == "inconclusive"
    assert found.reason is not None
    assert "two copies of the baseline differ" in found.reason.text


def test_as_many_more_processes_as_are_named_settle_it() -> None:
    values = [0.03, -0.03, 0.04, -0.04, 0.01, -0.01]
    found = judge(evidence(values), LIMIT, 6)
    assert found.outcome == "inconclusive"
    assert found.more is not None
    # The same spread, over as many processes in all.
    spread, count = float(np.std(values, ddof=1)), found.processes + found.more
    drawn = np.random.default_rng(0).standard_normal(count)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1) * spread
    assert judge(evidence(drawn.tolist()), LIMIT, count).outcome == "pass"
    fewer = drawn[: count - found.more // 2]
    fewer = (fewer - fewer.mean()) / fewer.std(ddof=1) * spread
    assert judge(evidence(fewer.tolist()), LIMIT, MOST).outcome == "inconclusive"


def test_a_change_at_the_limit_is_settled_by_no_number() -> None:
    bound = math.log1p(LIMIT)
    found = judge(evidence([bound - 0.01, bound + 0.01, bound - 0.02, bound + 0.02]), LIMIT, MOST)
    assert (found.outcome, found.more) == ("inconclusive", None)


def test_values_that_never_vary_decide_at_once() -> None:
    assert judge(evidence([0.0] * 4), LIMIT, MOST).outcome == "pass"
    assert judge(evidence([0.2] * 4), LIMIT, MOST).outcome == "regression"


def decided(rng: np.random.Generator, change: float, spread: float) -> Judgement:
    """What one comparison says: processes come in until a look decides."""
    changes = rng.normal(change, spread, MOST)
    noise = rng.normal(0.0, spread / math.sqrt(0.75), MOST)
    for count in looks(MOST):
        found = judge(evidence(changes[:count].tolist(), noise[:count].tolist()), LIMIT, MOST)
        if found.outcome != "inconclusive":
            return found
    return found


@pytest.mark.parametrize("spread", [0.005, 0.03])
def test_the_error_is_kept_where_it_is_largest(spread: float) -> None:
    """The truth lies at the limit itself: calling a regression, or a pass, is then an error each time."""
    rng = np.random.default_rng(7)
    count = 400
    found = [decided(rng, math.log1p(LIMIT), spread).outcome for _ in range(count)]
    wrong = count - found.count("inconclusive")
    # Three standard deviations above what is allowed.
    assert wrong <= count * ALPHA + 3 * math.sqrt(count * ALPHA)


def test_what_is_clear_is_found_with_few_processes() -> None:
    rng = np.random.default_rng(8)
    same = [decided(rng, 0.0, 0.01) for _ in range(200)]
    slower = [decided(rng, math.log1p(0.10), 0.01) for _ in range(200)]
    assert [found.outcome for found in same].count("pass") >= 198
    assert [found.outcome for found in slower].count("regression") >= 198
    assert np.median([found.processes for found in (*same, *slower)]) <= 9


def test_bootstrap_holds_the_mean_and_repeats_itself() -> None:
    changes = [0.09, 0.10, 0.11, 0.10]
    low, high = bootstrap(changes, seed=3)
    assert low < math.expm1(0.10) < high
    assert bootstrap(changes, seed=3) == (low, high)
