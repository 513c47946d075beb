"""Readings of the parts of a service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from grandopt.runtime.adaptation.evidence import Reading
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.histogram import BUCKETS, LatencyCounts, buckets_of
from grandopt.runtime.memory.collector import Collector
from grandopt.runtime.scheduling.batcher import Batcher


class BatcherReader:
    """Reads a batcher and, where there is one, the cache before it and the process's garbage collection.

    Hits of the cache never reach the batcher: they count as answers that took what look-ups take by the
    cache's own samples.
    """

    def __init__(
        self,
        batcher: Batcher,
        clock: Callable[[], int],
        *,
        cache: Hierarchy | None = None,
        collector: Collector | None = None,
    ) -> None:
        self._batcher, self._clock = batcher, clock
        self._cache, self._collector = cache, collector
        self._seen: dict[str, int] = {}
        self._hits = LatencyCounts()

    def read(self) -> Reading:
        """All counts until now."""
        stats = self._batcher.stats()
        direct = stats.released.get("direct", 0)
        sizes = stats.rows | {1: stats.rows.get(1, 0) - direct}
        reading = Reading(
            self._clock(),
            stats.latency,
            missed=stats.missed,
            failed=stats.failed,
            refused=sum(stats.rejected.values()),
            depth=stats.depth,
            direct=direct,
            batches=stats.batches - direct,
            busy_ns=stats.busy_ns,
            full=stats.released.get("full", 0),
            sizes=tuple(sorted(sizes.items())),
            workers=stats.concurrency,
        )
        if self._collector is not None:
            reading = replace(reading, paused_ns=int(1e9 * self._collector.held_up_s))
        return reading if self._cache is None else self._with_cache(reading, self._cache)

    def _with_cache(self, reading: Reading, cache: Hierarchy) -> Reading:
        levels = cache.stats().levels
        for level in levels:
            hits = level.counts.hits - self._seen.get(level.name, 0)
            self._seen[level.name] = level.counts.hits
            if hits > 0:
                self._hits += _same(hits, int(1e9 * (level.p50 or 0.0)))
        first = levels[0].counts
        return replace(
            reading,
            latency=reading.latency + self._hits,
            direct=reading.direct + self._hits.total,
            evictions=first.evictions or 0,
            lookups=first.hits + first.misses,
        )


def _same(count: int, ns: int) -> LatencyCounts:
    """So many durations of one length."""
    counts = np.zeros(BUCKETS, dtype=np.int64)
    counts[int(buckets_of([ns])[0])] = count
    return LatencyCounts(counts, count * ns)
