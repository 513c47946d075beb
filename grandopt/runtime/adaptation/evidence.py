"""What a span of service shows: the difference of two readings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from grandopt.runtime.histogram import LatencyCounts

P99_ANSWERS = 662
"""Answers that a p99 is taken from, as in the rest of the system (DESIGN section 9)."""

SATURATED = 0.9
"""The share of full batches of a service that cannot keep up."""
BACKLOG = 8.0
"""The batches that wait then, at least."""


@dataclass(frozen=True)
class Reading:
    """Counts since the service began, at one moment; `at_ns` is the clock's.

    `latency` holds the answered requests; `missed` were dropped because their deadline passed, `failed` got
    an error, `refused` were rejected at the door. `depth` rows wait now. `direct` answers took part in no
    batch. `batches` were computed in `busy_ns` of the workers' time; `full` of them had reached the limit
    while more waited. `sizes` counts batches by their size, rounded up to a power of two. `workers` compute
    at once. `lookups` and `evictions` are those of a cache.
    """

    at_ns: int
    latency: LatencyCounts = field(default_factory=LatencyCounts)
    missed: int = 0
    failed: int = 0
    refused: int = 0
    depth: int = 0
    direct: int = 0
    batches: int = 0
    busy_ns: int = 0
    full: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    workers: int = 1
    evictions: int = 0
    lookups: int = 0
    paused_ns: int = 0

    def __add__(self, other: Reading) -> Reading:
        """The two services together, at the later of their moments."""
        sizes = dict(self.sizes)
        for size, count in other.sizes:
            sizes[size] = sizes.get(size, 0) + count
        return Reading(
            max(self.at_ns, other.at_ns),
            self.latency + other.latency,
            self.missed + other.missed,
            self.failed + other.failed,
            self.refused + other.refused,
            self.depth + other.depth,
            self.direct + other.direct,
            self.batches + other.batches,
            self.busy_ns + other.busy_ns,
            self.full + other.full,
            tuple(sorted(sizes.items())),
            max(self.workers, other.workers),
            self.evictions + other.evictions,
            self.lookups + other.lookups,
            max(self.paused_ns, other.paused_ns),
        )


@dataclass(frozen=True)
class Evidence:
    """What happened between two readings of the same service."""

    before: Reading
    after: Reading

    @cached_property
    def latency(self) -> LatencyCounts:
        return self.after.latency - self.before.latency

    @property
    def seconds(self) -> float:
        return (self.after.at_ns - self.before.at_ns) / 1e9

    @property
    def answered(self) -> int:
        return self.latency.total

    @property
    def missed(self) -> int:
        return self.after.missed - self.before.missed

    @property
    def refused(self) -> int:
        return self.after.refused - self.before.refused

    @property
    def offered(self) -> int:
        """Requests that ended: answered, dropped, refused or failed."""
        return self.answered + self.missed + self.refused + self.after.failed - self.before.failed

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    @property
    def served(self) -> float:
        """The share of requests that were answered, of those that ended; 1 where none did."""
        return self.answered / self.offered if self.offered else 1.0

    @property
    def p50_ns(self) -> float | None:
        return self.latency.quantile(0.5)

    @property
    def p99_ns(self) -> float | None:
        """None where too few were answered for it."""
        return self.latency.quantile(0.99) if self.answered >= P99_ANSWERS else None

    @property
    def batches(self) -> int:
        return self.after.batches - self.before.batches

    @property
    def rows_per_batch(self) -> float | None:
        """None where no batch was computed."""
        direct = self.after.direct - self.before.direct
        return max(0, self.answered - direct) / self.batches if self.batches else None

    @property
    def row_ns(self) -> float | None:
        """Workers' time per answer."""
        busy = self.after.busy_ns - self.before.busy_ns
        return busy / self.answered if self.answered and busy else None

    @property
    def full_share(self) -> float:
        """The share of batches that were released because they had reached the limit."""
        return (self.after.full - self.before.full) / self.batches if self.batches else 0.0

    @property
    def saturated(self) -> bool:
        """Whether far more waits than is computed: answers are as many as the setting allows, and how long
        they took says when the backlog began."""
        waiting = min(self.before.depth, self.after.depth)
        return self.full_share >= SATURATED and waiting >= BACKLOG * (self.rows_per_batch or math.inf)

    @property
    def evictions(self) -> int:
        """Entries that the cache threw out for others."""
        return self.after.evictions - self.before.evictions

    @property
    def lookups(self) -> int:
        return self.after.lookups - self.before.lookups

    @property
    def paused(self) -> float:
        """The share of the time for which garbage collections held up the process."""
        spent = self.after.paused_ns - self.before.paused_ns
        return spent / 1e9 / self.seconds if self.seconds > 0 else 0.0

    @property
    def busy(self) -> float:
        """The share of the workers' time that was spent computing."""
        spent = self.after.busy_ns - self.before.busy_ns
        return spent / 1e9 / (self.seconds * self.after.workers) if self.seconds > 0 else 0.0

    def common_size(self, share: float = 0.9) -> int | None:
        """The size, rounded up to a power of two, that a share of the answered rows was in batches of at
        most."""
        earlier = dict(self.before.sizes)
        counts = [(size, count - earlier.get(size, 0)) for size, count in self.after.sizes]
        rows = sum(size * count for size, count in counts)
        seen = 0
        for size, count in counts:
            seen += size * count
            if count and seen >= share * rows:
                return size
        return None

    @property
    def score(self) -> float | None:
        """How good the service was, as a logarithm: higher is better, 0.01 more is 1 % better.

        The share of requests that were served, over their mean latency. With a fixed number of callers, the
        mean latency is their number over the throughput (Little's law); with arrivals from outside, the
        share falls where the service cannot keep up, and the rate itself says nothing about it. None without
        an answer.
        """
        mean = self.latency.mean_ns
        if mean is None:
            return None
        return math.log(max(self.served, 1e-6)) - math.log(max(mean, 1.0))

    def figures(self) -> dict[str, float | int | None]:
        """What a log line or a report shows."""
        return {
            "seconds": round(self.seconds, 4),
            "answered": self.answered,
            "rate": round(self.rate, 1),
            "served": round(self.served, 4),
            "p50_us": _us(self.p50_ns),
            "p99_us": _us(self.p99_ns),
            "mean_us": _us(self.latency.mean_ns),
            "rows_per_batch": _short(self.rows_per_batch),
            "depth": self.after.depth,
            "refused": self.refused,
            "missed": self.missed,
        }


def _us(ns: float | None) -> float | None:
    return None if ns is None else round(ns / 1e3, 2)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
