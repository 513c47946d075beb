"""The figures of one look at the parts, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.histogram import LatencyCounts, too_few
from grandopt.runtime.monitoring.drift import DriftReport
from grandopt.runtime.monitoring.gpu import GpuReading
from grandopt.runtime.monitoring.margins import MarginReport
from grandopt.runtime.monitoring.sources import DirectCounts
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings

K = TypeVar("K")
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True)
class Latency:
    """Percentiles in seconds; those that cannot be told are None, and `missing` says why by name."""

    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    p999_s: float | None
    mean_s: float | None
    count: int
    missing: Mapping[str, str]

    @classmethod
    def of(cls, counts: LatencyCounts) -> Latency:
        """The percentiles of counted durations, each from as many as it needs."""
        p50, p90, p99, p999 = (counts.percentile_ns(percent) for percent in PERCENTILES.values())
        short = {name: too_few(counts.total, percent) for name, percent in PERCENTILES.items()}
        return cls(
            p50_s=_seconds(p50),
            p90_s=_seconds(p90),
            p99_s=_seconds(p99),
            p999_s=_seconds(p999),
            mean_s=_seconds(counts.mean_ns),
            count=counts.total,
            missing={name: reason for name, reason in short.items() if reason is not None},
        )


@dataclass(frozen=True)
class Counters:
    """What happened to the requests of one agent, in all or in a window.

    `direct` of the answered ones were computed on their callers' threads, and are in no batch.
    """

    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    missed: int = 0
    batches: int = 0
    busy_ns: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[int, int] = field(default_factory=dict)
    released: Mapping[str, int] = field(default_factory=dict)
    latency: LatencyCounts = field(default_factory=LatencyCounts)
    cache_hits: int = 0
    cache_misses: int = 0
    direct: int = 0

    @classmethod
    def of(
        cls,
        batches: BatcherStats | None,
        direct: DirectCounts | None = None,
        cache: CacheStats | None = None,
    ) -> Counters:
        """What the parts say of all that they did."""
        levels = () if cache is None else cache.levels
        counters = cls(
            cache_hits=sum(level.counts.hits for level in levels),
            # A look-up that misses goes on to the next level: the last one's misses were not found at all.
            cache_misses=levels[-1].counts.misses if levels else 0,
        )
        if batches is not None:
            counters = replace(
                counters,
                answered=batches.answered,
                failed=batches.failed,
                cancelled=batches.cancelled,
                missed=batches.missed,
                batches=batches.batches,
                busy_ns=batches.busy_ns,
                rejected=dict(batches.rejected),
                rows=dict(batches.rows),
                released=dict(batches.released),
                latency=batches.latency,
            )
        return counters if direct is None else counters._with_direct(direct)

    def _with_direct(self, calls: DirectCounts) -> Counters:
        return replace(
            self,
            answered=self.answered + calls.latency.total,
            failed=self.failed + calls.failed,
            missed=self.missed + calls.missed,
            latency=self.latency + calls.latency,
            direct=calls.latency.total,
        )

    @property
    def rejections(self) -> int:
        """Requests that were refused, whatever the reason."""
        return sum(self.rejected.values())

    @property
    def asked(self) -> int:
        """Requests that came to an end, whichever."""
        return self.answered + self.failed + self.cancelled + self.missed + self.rejections

    def since(self, earlier: Counters) -> Counters | None:
        """What came after `earlier`; None where something fell, because a part was replaced by a new one."""
        if self.fell_below(earlier):
            return None
        return Counters(
            self.answered - earlier.answered,
            self.failed - earlier.failed,
            self.cancelled - earlier.cancelled,
            self.missed - earlier.missed,
            self.batches - earlier.batches,
            self.busy_ns - earlier.busy_ns,
            _less(self.rejected, earlier.rejected),
            _less(self.rows, earlier.rows),
            _less(self.released, earlier.released),
            self.latency - earlier.latency,
            self.cache_hits - earlier.cache_hits,
            self.cache_misses - earlier.cache_misses,
            self.direct - earlier.direct,
        )

    def fell_below(self, earlier: Counters) -> bool:
        """Whether one of the numbers is less than in `earlier`."""
        later, before = self._numbers(), earlier._numbers()
        return any(later.get(name, 0) < count for name, count in before.items())

    def _numbers(self) -> dict[object, int]:
        return {
            **{name: getattr(self, name) for name in SINGLE},
            **{("rejected", reason): count for reason, count in self.rejected.items()},
            **{("rows", size): count for size, count in self.rows.items()},
            **{("released", reason): count for reason, count in self.released.items()},
            "latency": self.latency.total,
        }


SINGLE = (
    "answered",
    "failed",
    "cancelled",
    "missed",
    "batches",
    "busy_ns",
    "cache_hits",
    "cache_misses",
    "direct",
)


@dataclass(frozen=True)
class AgentMetrics:
    """One agent: `total` since it is served, `recent` in the last `window_s` seconds (None at the first
    look).

    `depth` rows wait, of so many bytes. `cost` is the measured one of a batch, `original` says why the
    original still answers; `settings` and
    `workers` are those of batches, and they all and `cache`, `drift` and `margins` are None where there is no
    such thing.
    """

    agent: str
    total: Counters
    recent: Counters | None
    window_s: float
    depth: int
    queued_bytes: int
    settings: BatchSettings | None = None
    workers: str | None = None
    concurrency: int = 1
    cost: BatchCost | None = None
    original: str | None = None
    cache: CacheStats | None = None
    drift: DriftReport | None = None
    margins: tuple[MarginReport, ...] | None = None

    @cached_property
    def latency(self) -> Latency:
        """Of the recent requests."""
        return Latency.of(LatencyCounts() if self.recent is None else self.recent.latency)

    def per_second(self, count: int) -> float | None:
        """A count of the window as a rate; None without a window."""
        return count / self.window_s if self.window_s > 0 else None

    def share(self, count: int) -> float | None:
        """A count of the window among all requests that ended in it; None without any."""
        asked = 0 if self.recent is None else self.recent.asked
        return count / asked if asked else None

    @property
    def busy(self) -> float | None:
        """Which share of the workers' time batches took in the window."""
        if self.recent is None or not self.window_s > 0:
            return None
        return self.recent.busy_ns / 1e9 / self.window_s / max(self.concurrency, 1)

    @property
    def hit_rate(self) -> float | None:
        """Which share of the window's look-ups the cache could answer; None without a cache, or look-ups."""
        if self.cache is None or self.recent is None:
            return None
        asked = self.recent.cache_hits + self.recent.cache_misses
        return self.recent.cache_hits / asked if asked else None

    @property
    def requests_per_batch(self) -> float | None:
        """Requests of the window that were computed, over its batches."""
        if self.recent is None or not self.recent.batches:
            return None
        return (self.recent.answered + self.recent.failed - self.recent.direct) / self.recent.batches


@dataclass(frozen=True)
class ProcessMetrics:
    """The process and its workers: bytes in RAM and the most that they may take, seconds of CPU since each
    began, cores that were used over the window and those granted, and GPUs where there are some."""

    resident: int | None
    memory_limit: int | None
    cpu_s: float
    cores: float | None
    granted: float
    gpus: tuple[GpuReading, ...] = ()


@dataclass(frozen=True)
class Metrics:
    """All figures of one look, at `at` seconds of the monitor's clock and `wall` seconds since 1970."""

    at: float
    wall: float
    agents: Mapping[str, AgentMetrics]
    process: ProcessMetrics


def _seconds(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e9


def _less(later: Mapping[K, int], earlier: Mapping[K, int]) -> dict[K, int]:
    return {key: count - earlier.get(key, 0) for key, count in later.items() if count > earlier.get(key, 0)}
