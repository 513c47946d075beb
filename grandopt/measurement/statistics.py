"""The statistics of raw samples: pure functions over arrays, which do not know what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.runtime.histogram import SAMPLES_NEEDED as SAMPLES_NEEDED  # one rule for samples and for counts
from grandopt.runtime.histogram import too_few as too_few
from grandopt.signature import Array

SAMPLES_BEYOND = 6.5

STABLE_WINDOWS = 3
STABLE_RATIO = 1.10
STEADY_WIDTH = 0.10
"""An interval that is wider, as a share of its low end, does not tell a figure well enough."""

CONFIDENCE = 0.95
RESAMPLES = 2000


def percentile(samples: Array, percent: float) -> float:
    """The percentile of raw samples, interpolated between neighbours (type 7 of Hyndman and Fan).

    Raises MeasurementError when there are fewer samples than `SAMPLES_NEEDED` asks for.
    """
    shortage = too_few(samples.size, percent)
    if shortage is not None:
        raise MeasurementError(f"p{percent:g} {shortage}")
    return float(np.percentile(samples, percent))


def distribution(samples: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Points of the empirical distribution function: shares, and the least sample that reaches each.

    Every 5 % up to 90 %, the fastest 1 %, then ever closer to 1 in steps of 1, 2, 5, as long as there are as
    many samples beyond a share as `SAMPLES_NEEDED` asks for. The values are samples, not interpolated.
    """
    beyond = [step * 10.0**-decade for decade in range(2, 9) for step in (5, 2, 1)]
    tail = [1.0 - share for share in beyond if share * samples.size >= SAMPLES_BEYOND]
    shares = sorted({0.0, 0.01, *(round(0.05 * step, 2) for step in range(19)), *(round(s, 8) for s in tail)})
    values = np.quantile(samples, shares, method="inverted_cdf")
    return tuple(shares), tuple(float(value) for value in values)


def is_stable(window_medians: Sequence[float]) -> bool:
    """Whether the medians of the last three windows agree: the largest at most 1.10 times the smallest."""
    last = window_medians[-STABLE_WINDOWS:]
    return len(last) == STABLE_WINDOWS and max(last) <= STABLE_RATIO * min(last)


def width(low: float, high: float) -> float:
    """How wide an interval is, as a share of its low end (0.1 is 10 %)."""
    return high / low - 1.0


def median_interval(rounds: Sequence[Array], *, seed: int) -> tuple[float, float]:
    """Bootstrap interval of a subject's median time over processes, in the way of `ratio_interval`.

    `rounds` holds one array per process: the median time of each round.
    """
    ones = [np.ones_like(medians, dtype=np.float64) for medians in rounds]
    return ratio_interval(rounds, ones, seed=seed)


def ratio_of_rounds(base: Sequence[Array], other: Sequence[Array]) -> float:
    """The paired ratio base/other; above 1, `other` is the faster.

    Each sequence holds one array per process: the median time of each round, in the order of the rounds, so
    that equal places were measured next to each other. The result is the geometric mean over processes of
    the median ratio over rounds; exchanging the arguments gives exactly the reciprocal.
    """
    return float(np.exp(_centre(_log_ratios(base, other))))


def ratio_interval(
    base: Sequence[Array],
    other: Sequence[Array],
    *,
    seed: int,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Bootstrap interval of `ratio_of_rounds`: its low and high end.

    Resampled on two levels, processes first and then rounds within each drawn process, after Kalibera and
    Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013): rounds of one process share its memory
    layout, so treating them all as independent would give an interval that is too narrow. The ends are
    percentiles of the resampled ratios. The same seed gives the same interval.
    """
    groups = _log_ratios(base, other)
    rng = np.random.default_rng(seed)
    count = len(groups)
    medians = np.stack([_resampled_medians(group, resamples * count, rng) for group in groups])
    drawn = rng.integers(count, size=(resamples, count))
    places = np.arange(resamples * count).reshape(resamples, count)
    centres = medians[drawn, places].mean(axis=1)
    tail = 50.0 * (1.0 - confidence)
    low, high = np.exp(np.percentile(centres, [tail, 100.0 - tail]))
    return float(low), float(high)


def neighbours(rounds: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Split the rounds of each process into two runs of the same thing: the even and the odd ones.

    An odd round at the end is left out. Comparing the two is an A/A test: what differs is noise.
    """
    even = [medians[0 : medians.size - medians.size % 2 : 2] for medians in rounds]
    odd = [medians[1::2] for medians in rounds]
    return even, odd


def _resampled_medians(group: Array, count: int, rng: np.random.Generator) -> Array:
    rows = rng.integers(group.size, size=(count, group.size))
    return np.asarray(np.median(group[rows], axis=1))


def _log_ratios(base: Sequence[Array], other: Sequence[Array]) -> list[Array]:
    if len(base) != len(other) or not base:
        raise MeasurementError(
            f"paired rounds must come from the same processes, got {len(base)} and {len(other)}"
        )
    groups = []
    for left, right in zip(base, other, strict=True):
        if left.shape != right.shape or left.size == 0:
            raise MeasurementError(f"rounds do not pair up: {left.size} against {right.size}")
        if min(left.min(), right.min()) <= 0:
            raise MeasurementError("a round took no time at all: this machine's clock is too coarse for it")
        groups.append(np.log(left.astype(np.float64)) - np.log(right.astype(np.float64)))
    return groups


def _centre(groups: Sequence[Array]) -> float:
    return float(np.mean([np.median(group) for group in groups]))
