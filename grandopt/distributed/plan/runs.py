"""Runs of several rates under load, and the highest rate that keeps a limit by all of them together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.load.result import LoadResult
from grandopt.measurement.statistics import SAMPLES_NEEDED

ALLOWED = 0.01
"""The share of requests that may be late: the limit is one of the p99."""


class Runs:
    """What became of the requests of runs at `rates`, which rise, under each of `limits_ns`."""

    def __init__(self, rates: Sequence[float], limits_ns: Sequence[float]) -> None:
        self._rates = list(rates)
        self._limits = list(limits_ns)
        self._requests = [0] * len(self._rates)
        self._late = [[0] * len(self._rates) for _ in self._limits]
        self._sustained: list[list[bool]] = [[] for _ in self._rates]

    def add(self, rate: float, run: LoadResult) -> None:
        """One run more of a rate."""
        place = self._rates.index(rate)
        requests, latency = run.count(), run.latency_ns()
        self._requests[place] += requests
        self._sustained[place].append(run.sustained)
        for late, limit in zip(self._late, self._limits, strict=True):
            late[place] += requests - int(np.count_nonzero(latency <= limit))

    def highest_kept(self, limit_ns: float) -> float:
        """The highest rate at which all but 1 % of the requests are answered in time, between two of the
        rates.

        A higher rate has no smaller share of late requests: of the shares that rise with the rate it goes by
        those that are nearest to what was seen (isotonic regression, by the algorithm of Ayer, Brunk, Ewing,
        Reid and Silverman, 1955), so that a slow second of the machine counts as such, and not as the rate's.
        A rate that was not sustained in most of its runs is not kept. Raises MeasurementError where the
        border is below or above all rates, or where there are too few requests for a p99.
        """
        if min(self._requests) < SAMPLES_NEEDED[99]:
            raise MeasurementError(
                f"{min(self._requests)} requests are too few for a p99, it needs {SAMPLES_NEEDED[99]}"
            )
        late = self._late[self._limits.index(limit_ns)]
        shares = rising([one / all_ for one, all_ in zip(late, self._requests, strict=True)], self._requests)
        kept = [
            share <= ALLOWED and 2 * sum(sustained) > len(sustained)
            for share, sustained in zip(shares, self._sustained, strict=True)
        ]
        border = kept.index(False) if False in kept else len(kept)
        if border in (0, len(kept)):
            less = "no" if border == 0 else "every"
            tried = f"{less} rate from {self._rates[0]:.0f} to {self._rates[-1]:.0f} requests a second"
            raise MeasurementError(
                f"{tried} kept a p99 of {limit_ns / 1e6:g} ms by load; check again when the machine is idle, "
                f"or with another --p99"
            )
        return math.sqrt(self._rates[border - 1] * self._rates[border])


def rising(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The values that nowhere fall and are nearest to these, by least squares with weights above 0."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, and of how many
    for value, weight in zip(values, weights, strict=True):
        mean, heavy, size = value, float(weight), 1
        while blocks and blocks[-1][0] >= mean:
            before, other, count = blocks.pop()
            mean = (before * other + mean * heavy) / (other + heavy)
            heavy, size = heavy + other, size + count
        blocks.append((mean, heavy, size))
    return [mean for mean, _, size in blocks for _ in range(size)]
