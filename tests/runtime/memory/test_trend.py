"""Slopes and their confidence."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.memory.trend import MOST, trend


def test_a_line_is_found_exactly() -> None:
    found = trend(range(20), [3.0 * x + 1 for x in range(20)])
    assert found is not None
    assert (found.slope, found.low, found.high) == (3.0, 3.0, 3.0)
    assert found.p < 1e-6


def test_a_known_example() -> None:
    """By hand: of 28 pairs 19 rise and 9 fall, so S = 10, its variance 65.33, z = 9 / 8.083 = 1.1135."""
    values = [1.0, 3.0, 2.0, 5.0, 4.0, 3.5, 7.0, 2.5]
    found = trend(range(8), values)
    assert found is not None
    pairs = [(values[j] - values[i]) / (j - i) for i in range(8) for j in range(i + 1, 8)]
    score = sum(1 if pair > 0 else -1 for pair in pairs)
    assert score == 10
    assert found.slope == pytest.approx(float(np.median(pairs)))
    assert found.p == pytest.approx(0.26551, abs=1e-5)
    ordered = sorted(pairs)
    # 1.96 × 8.083 = 15.84: ranks (28 - 15.84) / 2 = 6.08 and (28 + 15.84) / 2 + 1 = 22.92, rounded outwards.
    assert (found.low, found.high) == (ordered[5], ordered[22])


@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.08), (0.7, 0.2)])
def test_noise_is_seldom_a_trend(rho: float, most: float) -> None:
    """Without the correction, a dependence of 0.7 makes a trend of more than a third of all series."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        series = rng.normal(size=80)
        for place in range(1, 80):
            series[place] += rho * series[place - 1]
        found = trend(range(80), series.tolist())
        assert found is not None
        alarms += found.p < 0.05
    assert alarms <= most * 200


def test_the_interval_covers_the_slope() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(200):
        found = trend(range(40), (0.3 * np.arange(40) + rng.normal(size=40)).tolist())
        assert found is not None
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 199


def test_outliers_move_little_and_long_series_are_thinned() -> None:
    values = [0.5 * x for x in range(10 * MOST)]
    values[17] = 1e9
    values[1500] = -1e9
    found = trend(range(10 * MOST), values)
    assert found is not None
    assert found.slope == pytest.approx(0.5, rel=1e-3)
    assert found.readings == 10 * MOST


def test_constant_series_have_no_trend() -> None:
    found = trend(range(10), [4.0] * 10)
    assert found is not None
    assert (found.slope, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_bad_input() -> None:
    assert trend(range(7), range(7)) is None
    with pytest.raises(ConfigError, match="as many times"):
        trend(range(9), range(8))
    with pytest.raises(ConfigError, match="must rise"):
        trend([0.0] * 9, range(9))
    for confidence in (0.0, 1.0, -1.0):
        with pytest.raises(ConfigError, match="confidence"):
            trend(range(9), range(9), confidence)
