"""Counts of latencies in buckets of at most 1/16 of their value, which can be added and subtracted.

The buckets are those of HdrHistogram (G. Tene) with four bits of mantissa: below 1024 ns they are 64 ns wide,
and from there on each power of two is cut into 16.
"""

from __future__ import annotations

from array import array
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
_OFFSET = (1023 + FINEST + MANTISSA - 1) << MANTISSA
"""What those bits would be in bucket 0, if it were a share of its value; 1023 is the exponent of 1."""
SHORT = 1 << 14
"""Durations in nanoseconds below this are counted one by one as they come, at some 80 ns each: nothing is
left to be done for many of them at once, which would hold up a service for 0.1 ms each time."""
FOLDED = 1024
"""Durations that came together and are kept before they are counted, which costs a tenth of what it costs one
by one. As machine integers: to convert a list would take 100 ns for each."""


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


def together(*parts: LatencyCounts) -> LatencyCounts:
    """The counts of all parts; a part without any costs nothing."""
    some = [part for part in parts if part.total]
    return sum(some[1:], some[0]) if some else LatencyCounts()


class LatencyHistogram:
    """Counts durations; one thread writes, any may take snapshots.

    Those that come one by one are counted at once, many that come together some hundreds at a time. A
    snapshot that another thread takes while one is counted may lack its nanoseconds in the sum.
    """

    def __init__(self) -> None:
        self.short = [0] * (SHORT >> FINEST)
        """How many durations below `SHORT` there were, in steps of 2 ** FINEST ns. Whoever has many of them
        may count them here, and add them to `single_ns`, without a call."""
        self.single_ns = 0
        self._longer: dict[int, int] = {}
        self._folded: tuple[LatencyCounts, array[int]] = (LatencyCounts(), array("q"))
        """What is counted of those that came together, and the durations since; replaced as one, so that a
        snapshot on another thread never misses what is being counted."""

    @property
    def total(self) -> int:
        """How many durations there were until now."""
        counted, raw = self._folded
        return counted.total + len(raw) + sum(self.short) + sum(self._longer.copy().values())

    def record(self, ns: int) -> None:
        """Count one duration in nanoseconds; negative ones count as 0."""
        if 0 <= ns < SHORT:
            self.short[ns >> FINEST] += 1
        else:
            bucket = bucket_of(ns)
            self._longer[bucket] = self._longer.get(bucket, 0) + 1
        self.single_ns += ns

    def record_equal(self, ns: int, count: int) -> None:
        """Count so many durations that took `ns` nanoseconds together, each the same share of them."""
        share = ns // count
        if 0 <= share < SHORT:
            self.short[share >> FINEST] += count
        else:
            bucket = bucket_of(share)
            self._longer[bucket] = self._longer.get(bucket, 0) + count
        self.single_ns += ns

    def record_many(self, durations: Iterable[int]) -> None:
        """Count durations in nanoseconds."""
        raw = self._folded[1]
        raw.extend(array("q", durations))
        if len(raw) >= FOLDED:
            self._folded = (self._folded[0] + _count(raw), array("q"))

    def snapshot(self) -> LatencyCounts:
        """All that was counted until now."""
        counted, raw = self._folded
        raw = raw[:]  # one step; an array that NumPy looks at could not be appended to
        if raw:
            counted += _count(raw)
        ns, longer = self.single_ns, self._longer.copy()
        if not ns and not longer and not self.short[0]:
            return counted
        short, places = np.array(self.short), _short_places()
        counts = counted.counts.copy()
        counts[: len(places)] += np.add.reduceat(short, places)
        for bucket, count in longer.items():
            counts[bucket] += count
        return LatencyCounts(counts, counted.sum_ns + ns)


def _count(raw: array[int]) -> LatencyCounts:
    ns = np.frombuffer(raw, dtype=np.int64)
    return LatencyCounts(np.bincount(buckets_of(ns), minlength=BUCKETS), int(ns.sum()))


def bucket_of(ns: int) -> int:
    """The bucket of one duration."""
    ns = min(max(ns, 0), (1 << LONGEST) - 1)
    shift = max(ns.bit_length() - MANTISSA - 1, FINEST)
    return ((shift - FINEST) << MANTISSA) + (ns >> shift)


def buckets_of(durations: Sequence[int] | Array) -> Array:
    """The bucket of each duration."""
    ns = np.maximum(np.minimum(np.asarray(durations, dtype=np.int64), (1 << LONGEST) - 1), 0)
    # The exponent of a float64 and the first bits of its mantissa, which stand side by side, number the
    # buckets that are a share of their value; integers below 2 ** 53 become floats exactly.
    shares = (ns.astype(np.float64).view(np.int64) >> (52 - MANTISSA)) - _OFFSET
    return np.where(ns < 1 << FINEST + MANTISSA, ns >> FINEST, shares)


def lower_ns(bucket: int) -> int:
    """Where a bucket begins, in nanoseconds."""
    if bucket < 1 << MANTISSA:
        return bucket << FINEST
    octave = (bucket >> MANTISSA) - 1
    return ((1 << MANTISSA) + (bucket & ((1 << MANTISSA) - 1))) << (octave + FINEST)


@cache
def _short_places() -> Array:
    """Where in `short` each of the first buckets begins."""
    return np.searchsorted(buckets_of(np.arange(0, SHORT, 1 << FINEST)), np.arange(buckets_of([SHORT])[0]))


@cache
def _ends() -> Array:
    return np.array([lower_ns(bucket + 1) for bucket in range(BUCKETS)])
