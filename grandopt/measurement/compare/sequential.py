"""Deciding between two artifacts while the evidence comes in, process by process, at a stated error.

The unit of evidence is a process: everything that is drawn anew when a program starts (address layout, the
pages that hold its code, what the system does meanwhile) is the same for all calls in it, so only
differences between processes say how sure a figure is. Each process gives one log ratio of candidate to
baseline, and one of the baseline to a second copy of itself, which differ by noise alone (A/A).

The evidence is looked at after certain numbers of processes (`looks`). At each look a Student interval is
put around the mean log ratio, at a confidence such that the chance that any of them misses is at most
`ALPHA` (Bonferroni's inequality, valid whatever the dependence; the group-sequential designs of Pocock and of
O'Brien and Fleming spend a little more cleverly what is spent here evenly). Comparing stops at the first look
whose interval lies on one side of the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from grandopt.reason import Reason, ReasonCode

Outcome = Literal["pass", "regression", "inconclusive"]

ALPHA = 0.01
"""The chance that some look's interval misses the truth: half of it on the side of a false alarm."""

LOOKS = (4, 6, 9, 13)
"""Processes after which the evidence is looked at, before the last look. Four is the fewest whose standard
deviation says something; each later look has about half as many again."""

MOST = 20
"""Processes of a comparison, where nobody says another number."""

FEWEST = LOOKS[0]

MANY = 100
"""Degrees of freedom from which on Student's t is nearly normal."""

_FARTHEST = 10_000
"""Processes beyond which nobody would go."""

BASELINE_NOISE = 0.75
"""The candidate is compared with the mean of two copies of the baseline. Where each of the three has the
variance v of its own, that difference has 3/2 v, and the difference of the two copies 2 v."""


@dataclass(frozen=True)
class PairedEvidence:
    """The log ratios of one figure, one per process: `change` of the candidate to the mean of the two copies
    of the baseline (above 0: the candidate's figure is larger), `noise` of one copy to the other."""

    change: tuple[float, ...]
    noise: tuple[float, ...]


@dataclass(frozen=True)
class Judgement:
    """What the evidence says. Everything but the outcome is a fraction: 0.03 is 3 % more than the baseline.

    `low` and `high` are the ends of the interval that was held against the limit, of the chance `confidence`
    at this look, all looks together 1 - `ALPHA`. `noise` is how far from 0 the A/A comparison of the same
    processes can lie, at the same confidence. `more` is how many more processes would settle an inconclusive
    one, None where that is more than anybody would run or where it is settled.
    """

    outcome: Outcome
    change: float
    low: float
    high: float
    confidence: float
    noise: float
    processes: int
    more: int | None = None
    reason: Reason | None = None


UNLIKE = Reason(
    ReasonCode.UNSTEADY_MACHINE,
    "two copies of the baseline differ by more than the limit: this machine is not comparing alike",
)


def looks(most: int) -> tuple[int, ...]:
    """After how many processes to look, when there may be `most` (at least FEWEST)."""
    return (*(look for look in LOOKS if look < most), most)


def judge(evidence: PairedEvidence, limit: float, most: int) -> Judgement:
    """Hold the evidence against a limit: the fraction by which the figure may grow.

    The spread is that of the changes or that of the A/A noise, whichever is wider: four processes can agree
    by chance. Where the two copies of the baseline themselves differ by more than the limit, nothing is
    decided.
    """
    count = len(evidence.change)
    alpha = ALPHA / len(looks(most))
    bound = math.log1p(limit)
    centre = float(np.mean(evidence.change))
    spread = max(_deviation(evidence.change), math.sqrt(BASELINE_NOISE) * _deviation(evidence.noise))
    half = quantile(1 - alpha / 2, count - 1) * spread / math.sqrt(count)
    apart = float(np.mean(evidence.noise))
    apart_half = quantile(1 - alpha / 2, count - 1) * _deviation(evidence.noise) / math.sqrt(count)
    reason = None
    if abs(apart) - apart_half > bound:
        outcome: Outcome = "inconclusive"
        reason = UNLIKE
    elif centre - half > bound:
        outcome = "regression"
    elif centre + half <= bound:
        outcome = "pass"
    else:
        outcome = "inconclusive"
    needed = _needed(spread, abs(centre - bound)) if outcome == "inconclusive" and not reason else None
    return Judgement(
        outcome=outcome,
        change=math.expm1(centre),
        low=math.expm1(centre - half),
        high=math.expm1(centre + half),
        confidence=1 - alpha,
        noise=math.expm1(abs(apart) + apart_half),
        processes=count,
        more=None if needed is None else max(1, needed - count),
        reason=reason,
    )


def bootstrap(changes: Sequence[float], seed: int, resamples: int = 2000) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean change at 95 %, resampled over processes, as fractions.

    With few processes it is too narrow to decide on.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(changes)
    means = values[rng.integers(values.size, size=(resamples, values.size))].mean(axis=1)
    low, high = np.expm1(np.percentile(means, [2.5, 97.5]))
    return float(low), float(high)


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _needed(spread: float, distance: float) -> int | None:
    """Most processes of a comparison at whose last look an interval of this spread would end before the
    limit."""
    low, high = FEWEST, _FARTHEST
    if _half(spread, high) >= distance:
        return None
    while low < high:
        middle = (low + high) // 2
        if _half(spread, middle) < distance:
            high = middle
        else:
            low = middle + 1
    return low


def _half(spread: float, count: int) -> float:
    return quantile(1 - ALPHA / len(looks(count)) / 2, count - 1) * spread / math.sqrt(count)


@lru_cache(maxsize=256)
def quantile(share: float, freedom: int) -> float:
    """The value that Student's t with so many degrees of freedom stays below with the chance `share` > 0.5.

    By bisection of the distribution function, to a relative error below 1e-9; above MANY degrees by the
    expansion 26.7.5 of Abramowitz and Stegun around the normal distribution, to one below 2e-5.
    """
    if freedom > MANY:
        z = NormalDist().inv_cdf(share)
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        return z + first / freedom + second / freedom**2
    low, high = 0.0, 1.0
    while _below(high, freedom) < share:
        low, high = high, high * 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _below(value: float, freedom: int) -> float:
    """Student's distribution function for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(value / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return 0.5 + inside / 2
