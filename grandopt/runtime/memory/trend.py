"""Whether a series of readings rises, how fast, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from grandopt.errors import ConfigError
from grandopt.signature import Array

FEWEST = 8
"""Readings for a trend: with fewer, the normal approximation of the test does not hold."""
MOST = 200
"""Points that a trend is taken from; longer series are thinned to medians of neighbours."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """A slope per second with its confidence interval, and the p-value of "there is no trend"."""

    slope: float
    low: float
    high: float
    p: float
    readings: int


def trend(times: Sequence[float], values: Sequence[float], confidence: float = CONFIDENCE) -> Trend | None:
    """The slope of `values` over `times` in seconds; None for fewer than FEWEST readings.

    The slope is the median of the slopes between all pairs (Theil 1950), its interval that of Sen ("Estimates
    of the regression coefficient based on Kendall's tau", JASA 63, 1968). p is that of the test of Mann
    (Econometrica 13, 1945) and Kendall, two-sided, with ties and the continuity correction. Neighbouring
    readings of memory are alike, which would make both too sure; the variance is corrected for that after
    Hamed and Rao (J. Hydrology 204, 1998). None of these assumes a distribution, and single outliers move the
    slope little. Raises ConfigError for series of unequal length, times that do not rise, or a confidence
    outside of 0 … 1.
    """
    if len(times) != len(values) or not 0 < confidence < 1:
        raise ConfigError(
            f"a trend needs as many times as values and a confidence between 0 and 1, got {len(times)}, "
            f"{len(values)} and {confidence}"
        )
    x, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if (np.diff(x) <= 0).any():
        raise ConfigError("the times of readings must rise")
    if x.size < FEWEST:
        return None
    x, y = _thinned(x), _thinned(y)
    first, second = np.triu_indices(x.size, k=1)
    rises = y[second] - y[first]
    slopes = np.sort(rises / (x[second] - x[first]))
    slope = float(np.median(slopes))
    deviation = math.sqrt(_variance(y) * _correlation(y - slope * x))
    score = float(np.sign(rises).sum())
    z = 0.0 if score == 0 or deviation == 0 else (score - math.copysign(1.0, score)) / deviation
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * deviation
    below = max(0, math.floor((slopes.size - reach) / 2) - 1)
    above = min(slopes.size - 1, math.ceil((slopes.size + reach) / 2))
    return Trend(
        slope, float(slopes[below]), float(slopes[above]), math.erfc(abs(z) / math.sqrt(2)), len(values)
    )


def _thinned(series: Array) -> Array:
    if series.size <= MOST:
        return series
    return np.array([np.median(part) for part in np.array_split(series, MOST)])


def _variance(y: Array) -> float:
    """Of Kendall's score when there is no trend; equal values lower it."""
    _, ties = np.unique(y, return_counts=True)
    n = y.size
    return float(n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18


def _correlation(residuals: Array) -> float:
    """By how much autocorrelation multiplies the variance, at least 1: of the ranks without the trend.

    Only correlations that are significant at 95 % count. The positive ones alone, because a factor below 1
    would make the result surer than independent readings.
    """
    n = residuals.size
    _, places, counts = np.unique(residuals, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places] - (n + 1) / 2
    power = float((ranks * ranks).sum())
    if power == 0:
        return 1.0
    total = 0.0
    for lag in range(1, n - 2):
        rho = float((ranks[lag:] * ranks[:-lag]).sum()) / power
        if rho > 1.96 / math.sqrt(n):
            total += (n - lag) * (n - lag - 1) * (n - lag - 2) * rho
    return 1.0 + 2.0 * total / (n * (n - 1) * (n - 2))
