"""The statistics, against numpy, against their definitions, and on data with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import MeasurementError
from grandopt.measurement import statistics
from grandopt.measurement.statistics import (
    SAMPLES_BEYOND,
    SAMPLES_NEEDED,
    distribution,
    is_stable,
    median_interval,
    neighbours,
    percentile,
    ratio_interval,
    ratio_of_rounds,
    too_few,
    width,
)
from tests.workflows.fakes import measurement

TIMES = st.lists(st.floats(1.0, 1e9), min_size=1, max_size=40)


@given(TIMES)
def test_the_median_splits_the_samples(times: list[float]) -> None:
    samples = np.array(times)
    median = percentile(samples, 50.0)
    assert (samples <= median).sum() * 2 >= samples.size
    assert (samples >= median).sum() * 2 >= samples.size


@pytest.mark.parametrize("percent", SAMPLES_NEEDED)
def test_a_percentile_needs_its_samples(percent: float) -> None:
    needed = SAMPLES_NEEDED[percent]
    samples = np.random.default_rng(1).permutation(needed).astype(float)
    assert percentile(samples, percent) == pytest.approx((needed - 1) * percent / 100)
    assert too_few(needed, percent) is None
    assert too_few(needed - 1, percent) == f"needs {needed} samples, has {needed - 1}"
    with pytest.raises(MeasurementError, match=f"needs {needed}"):
        percentile(samples[:-1], percent)


@pytest.mark.parametrize(
    ("medians", "stable"),
    [
        ([100, 105, 110], True),
        ([100, 105, 110.1], False),
        ([110, 105, 100], True),
        ([500, 100, 100, 100], True),
        ([100, 100, 100, 500], False),
        ([100, 100], False),
        ([], False),
    ],
)
def test_stable_means_the_last_three_windows_agree(medians: list[float], stable: bool) -> None:
    assert is_stable(medians) is stable


def test_a_ratio_is_the_geometric_mean_of_process_medians() -> None:
    base = [np.array([200.0, 210.0, 900.0]), np.array([800.0, 800.0])]
    other = [np.array([100.0, 100.0, 100.0]), np.array([100.0, 100.0])]
    assert ratio_of_rounds(base, other) == pytest.approx(np.sqrt(2.1 * 8.0))


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=4))
def test_a_ratio_turned_round_is_its_reciprocal(pairs: list[tuple[list[float], list[float]]]) -> None:
    sizes = [min(len(left), len(right)) for left, right in pairs]
    left = [np.array(times[:size]) for (times, _), size in zip(pairs, sizes, strict=True)]
    right = [np.array(times[:size]) for (_, times), size in zip(pairs, sizes, strict=True)]
    assert ratio_of_rounds(left, right) == pytest.approx(1 / ratio_of_rounds(right, left), rel=1e-9)


@settings(max_examples=20)
@given(TIMES, st.floats(0.1, 10.0))
def test_a_constant_factor_has_no_uncertainty(times: list[float], factor: float) -> None:
    base = np.array(times)
    low, high = ratio_interval([base * factor], [base], seed=0, resamples=50)
    assert low == pytest.approx(factor)
    assert high == pytest.approx(factor)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    runs, covered = 120, 0
    for seed in range(runs):
        base = [np.exp(rng.normal(np.log(2.0), 0.1, 30))]
        low, high = ratio_interval(base, [np.ones(30)], seed=seed, resamples=400)
        covered += low <= 2.0 <= high
    assert 0.87 * runs <= covered < runs


def test_disagreeing_processes_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    together = [np.exp(rng.normal(0.0, 0.01, 30)) for _ in range(3)]
    apart = [group * shift for group, shift in zip(together, (0.9, 1.0, 1.1), strict=True)]
    ones = [np.ones(30)] * 3
    narrow, wide = (ratio_interval(groups, ones, seed=1) for groups in (together, apart))
    assert narrow[1] - narrow[0] < 0.02
    assert wide[0] < 0.95
    assert wide[1] > 1.05


def test_the_same_seed_gives_the_same_interval() -> None:
    base = list(np.random.default_rng(2).uniform(1, 2, (3, 30)))
    ones = [np.ones(30)] * 3
    assert ratio_interval(base, ones, seed=4) == ratio_interval(base, ones, seed=4)
    assert ratio_interval(base, ones, seed=4) != ratio_interval(base, ones, seed=5)


def test_neighbours_are_even_and_odd_rounds() -> None:
    even, odd = neighbours([np.arange(5.0), np.arange(10.0, 14.0)])
    assert [half.tolist() for half in even] == [[0, 2], [10, 12]]
    assert [half.tolist() for half in odd] == [[1, 3], [11, 13]]


@pytest.mark.parametrize(
    ("base", "other", "message"),
    [
        ([], [], "same processes"),
        ([np.ones(3)], [np.ones(3), np.ones(3)], "same processes"),
        ([np.ones(3)], [np.ones(4)], "3 against 4"),
        ([np.ones(0)], [np.ones(0)], "0 against 0"),
        ([np.zeros(3)], [np.ones(3)], "clock is too coarse"),
    ],
)
def test_rounds_that_do_not_pair_are_refused(
    base: list[np.ndarray], other: list[np.ndarray], message: str
) -> None:
    with pytest.raises(MeasurementError, match=message):
        ratio_of_rounds(base, other)


@pytest.mark.parametrize("count", [1, 64, 662, 6636, 540_000])
def test_a_distribution_is_of_samples_and_reaches_as_far_as_they_allow(count: int) -> None:
    samples = np.random.default_rng(0).integers(100, 10_000, size=count)
    shares, values = distribution(samples)
    assert len(shares) == len(values) <= 64
    assert set(values) <= set(samples.tolist())
    assert (shares[0], values[0]) == (0.0, samples.min())
    for share, value in zip(shares, values, strict=True):
        assert np.mean(samples <= value) >= share  # type 1 of Hyndman and Fan
        assert np.mean(samples < value) <= share
    beyond = (1.0 - shares[-1]) * count
    assert shares[-1] == 0.9 or beyond >= SAMPLES_BEYOND - 1e-6
    assert (0.999 in shares) == (count >= 6636)


@given(st.floats(1.0, 1e6), st.floats(0.0, 0.2), st.integers(1, 6), st.integers(3, 30), st.integers(0, 99))
@settings(max_examples=30)
def test_the_interval_of_a_median_holds_it_and_lies_among_the_rounds(
    level: float, noise: float, processes: int, rounds: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    times = [level * (1 + noise * draw.uniform(-1, 1, rounds)) for _ in range(processes)]
    low, high = median_interval(times, seed=0)
    least, most = min(item.min() for item in times), max(item.max() for item in times)
    assert least * (1 - 1e-9) <= low <= high <= most * (1 + 1e-9)
    assert median_interval(times, seed=0) == (low, high)
    scaled = median_interval([3 * item for item in times], seed=0)
    assert scaled == pytest.approx((3 * low, 3 * high))


def test_processes_that_differ_widen_the_interval_and_more_of_them_narrow_it() -> None:
    draw = np.random.default_rng(3)

    def found(count: int, spread: float) -> float:
        levels = 1.0 + spread * np.linspace(-1, 1, count)
        rounds = [level * (1 + 0.01 * draw.uniform(-1, 1, 45)) for level in levels]
        return width(*median_interval(rounds, seed=0))

    assert found(3, 0.0) < 0.01
    assert found(3, 0.2) > 0.1
    assert found(12, 0.1) < found(3, 0.1)


def test_a_ratio_is_resampled_once_and_anew_with_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def interval(base: list[np.ndarray], other: list[np.ndarray], *, seed: int) -> tuple[float, float]:
        asked.append(len(base))
        return ratio_interval(base, other, seed=seed)

    monkeypatch.setattr(statistics, "ratio_interval", interval)
    measured, again = measurement(a=2.0, b=1.0), measurement(a=2.0, b=1.0)
    ratio = measured.ratio("a", "b")
    assert measured.ratio("a", "b") is ratio
    assert measured.ratio("b", "a").value == pytest.approx(1 / ratio.value)
    assert asked == [3, 3]
    joined = measured.joined(again)
    assert joined.ratio("a", "b").pairs == 2 * ratio.pairs
    assert asked == [3, 3, 6]
