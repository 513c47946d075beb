"""Paired differences of measured logarithms, and what their interval says."""

from __future__ import annotations

import math
from collections.abc import Sequence

STUDENT_99 = (
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
)  # fmt: skip
"""Two-sided 99 % points of Student's t for 1, 2, … degrees of freedom; the last is used from there on."""


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 99 % interval of the mean of independent differences (Student's t); infinite for fewer than two."""
    count = len(differences)
    if count < 2:
        return -math.inf, math.inf
    mean = sum(differences) / count
    point = STUDENT_99[min(count - 1, len(STUDENT_99)) - 1]
    half = point * spread(differences) / math.sqrt(count)
    return mean - half, mean + half


def spread(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def against_neighbours(base: Sequence[float], tried: Sequence[float]) -> list[float]:
    """Each tried value minus the mean of the base values before and after it: a trend cancels.

    `base` holds one more than `tried`, or as many; a last tried value without a base after it is left out.
    """
    return [value - (before + after) / 2 for value, before, after in zip(tried, base, base[1:], strict=False)]
