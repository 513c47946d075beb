"""Changes of level are found where they are, and seldom where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.reporting.history.change_points import (
    LEAST,
    SEGMENT,
    SIGNIFICANCE,
    _best_cut,
    _distances,
    change_points,
)


def series(*levels: tuple[int, float], noise: float = 0.02, seed: int = 0) -> list[float]:
    """So many figures around each level, with noise of heavy tails, as latencies have."""
    random = np.random.default_rng(seed)
    return [
        float(level * np.exp(noise * random.standard_t(4))) for count, level in levels for _ in range(count)
    ]


@pytest.mark.parametrize("change", [0.8, 1.1, 3.0])
@pytest.mark.parametrize("at", [6, 15, 24])
def test_a_step_is_found_where_it_is(change: float, at: int) -> None:
    (found,) = change_points(series((at, 2.0), (30 - at, 2.0 * change)))
    assert abs(found.at - at) <= 1
    assert found.factor == pytest.approx(change, rel=0.03)
    assert found.p <= SIGNIFICANCE


def test_every_step_of_several_is_found() -> None:
    found = change_points(series((12, 1.0), (12, 1.2), (12, 0.9)))
    assert [point.at for point in found] == pytest.approx([12, 24], abs=1)
    assert [point.factor for point in found] == pytest.approx([1.2, 0.75], rel=0.03)
    assert found[0].after == found[1].before


def test_false_alarms_are_as_rare_as_stated() -> None:
    alarms = sum(bool(change_points(series((25, 1.0), seed=seed), seed)) for seed in range(200))
    assert alarms <= 6  # of 200 at 1 %: 2 expected, and more than 6 once in 250 such tests


def test_a_lasting_five_percent_is_not_missed() -> None:
    found = [change_points(series((20, 1.0), (10, 1.05), noise=0.01, seed=seed)) for seed in range(10)]
    assert all(found)


def test_one_outlier_is_no_change() -> None:
    values = series((30, 1.0))
    values[17] *= 4
    assert change_points(values) == ()


@pytest.mark.parametrize("values", [[], [1.0] * 40, [1.0] * (LEAST // 2) + [2.0] * (LEAST - 1 - LEAST // 2)])
def test_nothing_is_found_in_too_few_or_the_same(values: list[float]) -> None:
    assert change_points(values) == ()


def test_as_few_as_can_be_are_enough_for_a_clear_step() -> None:
    half = LEAST // 2
    assert [point.at for point in change_points(series((half, 1.0), (half, 2.0)))] == [half]


def test_the_same_seed_gives_the_same_and_the_unit_does_not_matter() -> None:
    values = series((14, 1.0), (14, 1.06))
    assert change_points(values, 3) == change_points(values, 3)
    scaled = change_points([1000 * value for value in values], 3)
    assert [point.at for point in scaled] == [point.at for point in change_points(values, 3)]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_positive_figure_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        change_points([1.0] * LEAST + [value])


def test_the_distance_is_that_of_the_paper() -> None:
    values = np.random.default_rng(5).normal(size=17)

    def scaled(at: int) -> float:
        left, right = values[:at], values[at:]
        m, n = len(left), len(right)
        across = sum(abs(x - y) for x in left for y in right)
        within_left = sum(abs(left[i] - left[k]) for k in range(m) for i in range(k))
        within_right = sum(abs(right[i] - right[k]) for k in range(n) for i in range(k))
        pairs = 2 / (m * n) * across - within_left / (m * (m - 1) / 2) - within_right / (n * (n - 1) / 2)
        return float(m * n / (m + n) * pairs)

    expected = {at: scaled(at) for at in range(SEGMENT, len(values) - SEGMENT + 1)}
    best = max(expected, key=lambda at: expected[at])
    found = _best_cut(_distances(values))
    assert (found.at, found.distance) == (best, pytest.approx(expected[best]))
