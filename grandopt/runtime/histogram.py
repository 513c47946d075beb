"""Counts of latencies in buckets of at most 1/16 of their value, which can be added and subtracted.

The buckets are those of HdrHistogram (G. Tene) with four bits of mantissa: below 1024 ns they are 64 ns wide,
and from there on each power of two is cut into 16.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from grandopt.signature import Array

FINEST = 6
"""The smallest buckets are 2 ** FINEST nanoseconds wide."""
MANTISSA = 4
LONGEST = 42
"""Durations from 2 ** LONGEST nanoseconds (73 minutes) on are counted in the last bucket."""
BUCKETS = (LONGEST - MANTISSA - 1 - FINEST + 2) << MANTISSA
FOLDED = 1024
"""Durations that are kept before they are counted together, which costs 100 ns each in the place of 300, and
holds up a service for about 0.1 ms. What comes meanwhile waits, and of a busy service also what comes while
it makes up for that: longer ones, though fewer, would show in its 99th percentile."""


SAMPLES_NEEDED = {50.0: 1, 90.0: 64, 95.0: 130, 99.0: 662, 99.9: 6636}
"""Samples that a percentile needs, from the design: about six and a half beyond it. With fewer, a single
interrupt decides the figure."""


def too_few(count: int, percent: float) -> str | None:
    """Why a percentile cannot be taken from so many samples, or None if it can."""
    needed = SAMPLES_NEEDED[percent]
    return None if count >= needed else f"needs {needed} samples, has {count}"


@dataclass(frozen=True)
class LatencyCounts:
    """How many durations fell into each bucket, and the sum of all in nanoseconds."""

    counts: Array = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))
    sum_ns: int = 0

    def __add__(self, other: LatencyCounts) -> LatencyCounts:
        return LatencyCounts(self.counts + other.counts, self.sum_ns + other.sum_ns)

    def __sub__(self, earlier: LatencyCounts) -> LatencyCounts:
        """What came since `earlier`, a snapshot of the same histogram."""
        return LatencyCounts(self.counts - earlier.counts, self.sum_ns - earlier.sum_ns)

    @cached_property
    def total(self) -> int:
        """How many durations there are."""
        return int(self.counts.sum())

    @property
    def mean_ns(self) -> float | None:
        """The exact mean; None without any duration."""
        return self.sum_ns / self.total if self.total else None

    def quantile(self, q: float) -> float | None:
        """The duration in nanoseconds that a share `q` of all is at most: the middle of its bucket.

        None without any duration; how many a quantile needs is for the caller to judge.
        """
        if not self.total:
            return None
        rank = max(1, int(np.ceil(q * self.total)))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return (lower_ns(bucket) + lower_ns(bucket + 1)) / 2

    def percentile_ns(self, percent: float) -> float | None:
        """`quantile` of a percentage of SAMPLES_NEEDED; None with fewer durations than it needs."""
        return None if too_few(self.total, percent) else self.quantile(percent / 100)

    def at_most(self, ns: float) -> int:
        """How many durations lie in buckets that end at or below `ns`."""
        return self.below([ns])[0]

    def below(self, limits_ns: Sequence[float]) -> list[int]:
        """`at_most` of each; exact at an edge of a bucket, as powers of two from 64 on are."""
        ends = np.searchsorted(_ends(), limits_ns, side="right")
        sums = np.cumsum(np.append(0, self.counts))
        return [int(count) for count in sums[ends]]


class LatencyHistogram:
    """Counts durations; one thread writes, any may take snapshots.

    Durations are collected and counted some hundreds at a time.
    """

    def __init__(self) -> None:
        self.raw: list[int] = []
        """Durations not counted yet; the writer may append to it, and then calls `settle` in time."""
        self._folded: tuple[LatencyCounts, list[int]] = (LatencyCounts(), self.raw)
        """What is counted, and the durations since; replaced as one, so that a snapshot on another thread
        never misses what is being counted."""

    def record(self, ns: int) -> None:
        """Count one duration in nanoseconds; negative ones count as 0."""
        self.raw.append(ns)
        self.settle()

    def record_many(self, durations: Iterable[int]) -> None:
        """Count durations in nanoseconds."""
        self.raw.extend(durations)
        self.settle()

    def settle(self) -> None:
        """Count what was appended to `raw`, if that is much."""
        if len(self.raw) >= FOLDED:
            self._fold()

    def snapshot(self) -> LatencyCounts:
        """All that was counted until now."""
        counted, raw = self._folded
        raw = list(raw)
        return counted + _count(raw) if raw else counted

    def _fold(self) -> None:
        self._folded = (self._folded[0] + _count(self.raw), [])
        self.raw = self._folded[1]


def _count(raw: list[int]) -> LatencyCounts:
    return LatencyCounts(np.bincount(buckets_of(raw), minlength=BUCKETS), sum(raw))


def buckets_of(durations: Iterable[int]) -> Array:
    """The bucket of each duration."""
    ns = np.clip(np.asarray(durations, dtype=np.int64), 0, (1 << LONGEST) - 1)
    # frexp gives the number of bits, exactly for integers below 2 ** 53.
    bits = np.frexp(ns.astype(np.float64))[1]
    shift = np.maximum(bits - MANTISSA - 1, FINEST)
    return ((shift - FINEST) << MANTISSA) + (ns >> shift)  # type: ignore[no-any-return]


def lower_ns(bucket: int) -> int:
    """Where a bucket begins, in nanoseconds."""
    if bucket < 1 << MANTISSA:
        return bucket << FINEST
    octave = (bucket >> MANTISSA) - 1
    return ((1 << MANTISSA) + (bucket & ((1 << MANTISSA) - 1))) << (octave + FINEST)


@cache
def _ends() -> Array:
    return np.array([lower_ns(bucket + 1) for bucket in range(BUCKETS)])
