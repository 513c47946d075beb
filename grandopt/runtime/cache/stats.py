"""What a cache tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.runtime.cache.levels.base import LevelCounts


@dataclass(frozen=True)
class LevelStats:
    """One level of a hierarchy: what it has seen and holds, and how long look-ups take, in seconds.

    Times are of sampled look-ups, hits and misses alike; None before the first.
    """

    name: str
    on: bool
    counts: LevelCounts
    p50: float | None
    p99: float | None
    p999: float | None


@dataclass(frozen=True)
class CacheStats:
    """What a hierarchy has done: its levels from the fastest on, the values computed, and the writes that
    were dropped because the queue was full."""

    levels: tuple[LevelStats, ...]
    computed: int
    dropped: int
