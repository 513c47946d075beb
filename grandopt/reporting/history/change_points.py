"""Where the level of a series of figures changed: hierarchical divisive estimation with permutation tests.

The method is E-divisive of Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis
of Multivariate Data", Journal of the American Statistical Association 109 (2014), 334-345, with exponent 1,
on the logarithms of the figures, so that a change counts by its ratio. It assumes no distribution: a series
is cut where the energy distance between both sides is largest, if the largest distance of a randomly ordered
series is seldom as large, and both sides are then searched again. As in most of its uses on benchmarks, a
side is the whole stretch up to the next cut (the paper also tries shorter right sides).

What it cannot know: the test takes the figures of one level to be exchangeable. A machine whose speed drifts
from day to day gives more marks than `SIGNIFICANCE` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

SIGNIFICANCE = 0.01
"""A cut is kept if at most this share of randomly ordered series has as large a distance somewhere."""

PERMUTATIONS = 999

SEGMENT = 3
"""Least number of figures between two cuts: fewer cannot be told from outliers."""

LEAST = 12
"""Figures that a test needs. Of 12, cut in the middle, 2 of C(12, 6) = 924 orders are as extreme as the most
extreme one. Of 10 it is 2 of 252, too near `SIGNIFICANCE` for so many permutations to tell."""

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """`at` is the first figure of the new level; `before` and `after` are the medians of both stretches.

    `p` is the share of randomly ordered series that look as changed somewhere.
    """

    at: int
    before: float
    after: float
    p: float

    @property
    def factor(self) -> float:
        """The new level as a multiple of the old one."""
        return self.after / self.before


@dataclass(frozen=True)
class _Cut:
    at: int
    distance: float


def change_points(figures: Sequence[float], seed: int = 0) -> tuple[ChangePoint, ...]:
    """The changes of level in a series of positive figures, in order; the same for the same seed.

    A series of fewer than LEAST figures has none: what it shows can be chance. Raises ValueError for a figure
    that is not positive and finite.
    """
    if not all(math.isfinite(figure) and figure > 0 for figure in figures):
        raise ValueError("a series of figures must be positive and finite")
    if len(figures) < LEAST:
        return ()
    logs = np.log(np.asarray(figures, dtype=np.float64))
    generator = np.random.default_rng(seed)
    bounds, found = [0, len(figures)], dict[int, float]()
    while True:
        stretches = [logs[low:high] for low, high in pairwise(bounds)]
        cuts = [_best_cut(_distances(stretch)) for stretch in stretches]
        index = max(range(len(cuts)), key=lambda which: cuts[which].distance)
        p = _chance(stretches, cuts[index].distance, generator)
        if p > SIGNIFICANCE:
            break
        at = bounds[index] + cuts[index].at
        found[at] = p
        bounds = sorted([*bounds, at])
    return tuple(_described(figures, bounds, at, found[at]) for at in bounds[1:-1])


def _described(figures: Sequence[float], bounds: Sequence[int], at: int, p: float) -> ChangePoint:
    place = bounds.index(at)
    before, after = figures[bounds[place - 1] : at], figures[at : bounds[place + 1]]
    return ChangePoint(at, float(np.median(before)), float(np.median(after)), p)


def _chance(stretches: Sequence[Vector], observed: float, generator: np.random.Generator) -> float:
    """How often the largest distance in a random order is as large as the one observed.

    Stops early where the answer can no longer be significant. With no distance at all the answer is 1.
    """
    if observed <= 0:
        return 1.0
    enough = SIGNIFICANCE * (PERMUTATIONS + 1)
    # Beside rounding: the same order must count as equally far.
    reached, threshold = 0, observed * (1 - 1e-9)
    matrices = [_distances(stretch) for stretch in stretches if len(stretch) >= 2 * SEGMENT]
    for _ in range(PERMUTATIONS):
        orders = (generator.permutation(len(matrix)) for matrix in matrices)
        shuffled = (matrix[np.ix_(order, order)] for matrix, order in zip(matrices, orders, strict=True))
        reached += any(_best_cut(matrix).distance >= threshold for matrix in shuffled)
        if reached + 1 > enough:
            return 1.0
    return (reached + 1) / (PERMUTATIONS + 1)


def _distances(stretch: Vector) -> Matrix:
    distances: Matrix = np.abs(stretch[:, None] - stretch[None, :])
    return distances


def _best_cut(distances: Matrix) -> _Cut:
    """Where the energy distance between both sides of a stretch, scaled by their sizes, is largest.

    For sides of m and n figures that is m n / (m + n) times: twice the mean distance across, less the mean
    distances within each side.
    """
    count = len(distances)
    if count < 2 * SEGMENT:
        return _Cut(0, 0.0)
    upper = np.triu(distances)
    left = np.cumsum(upper.sum(axis=0))  # sums of all pairs within the first 1, 2, … figures
    right = np.cumsum(upper.sum(axis=1)[::-1])[::-1]  # … and from there on to the end
    at = np.arange(SEGMENT, count - SEGMENT + 1)
    m, n = at.astype(np.float64), (count - at).astype(np.float64)
    within_left, within_right = left[at - 1], right[at]
    across = left[-1] - within_left - within_right
    energy = 2 * across / (m * n) - 2 * within_left / (m * (m - 1)) - 2 * within_right / (n * (n - 1))
    scaled = m * n / (m + n) * energy
    best = int(np.argmax(scaled))
    return _Cut(int(at[best]), float(scaled[best]))
