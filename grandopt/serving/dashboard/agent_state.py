"""What the page is told of one agent."""

from __future__ import annotations

from typing import Any

from grandopt.runtime.engine.stats import AgentStats
from grandopt.runtime.monitoring.drift import DriftReport
from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters
from grandopt.runtime.scheduling.stats import BatcherStats

Json = dict[str, Any]


def agent_state(stats: AgentStats, seen: AgentMetrics | None, figures: dict[str, float]) -> Json:
    """One agent: counts since it is served, and what the monitor saw in its window.

    `figures` are the monitor's measures by name, those that can be told; "hits_rate" are the answers of a
    cache per second, which are no requests to the agent. `seen` is None where nobody looks.
    Durations are in seconds, sizes in bytes.
    """
    total = Counters.of(stats.batches, stats.direct, stats.cache)
    recent = None if seen is None or stats.cache is None else seen.recent
    hits = None if seen is None or recent is None else seen.per_second(recent.cache_hits)
    return {
        "name": stats.name,
        "engine": stats.answering.engine,
        "digest": stats.answering.digest[:12],
        "replaced": stats.replaced,
        "figures": figures if hits is None else {**figures, "hits_rate": hits},
        "missing": {} if seen is None else dict(seen.latency.missing),
        "window_s": None if seen is None else seen.window_s,
        "original": None if seen is None else seen.original,
        "totals": _totals(total),
        "batches": None if stats.batches is None else _batches(stats.batches),
        "cache": _cache(stats),
        "sessions": None if stats.sessions is None else vars(stats.sessions),
        "drift": None if seen is None or seen.drift is None else _drift(seen.drift),
        "margins": [vars(one) for one in (seen.margins or ())] if seen is not None else [],
    }


def _totals(total: Counters) -> Json:
    return {
        "answered": total.answered,
        "failed": total.failed,
        "cancelled": total.cancelled,
        "missed": total.missed,
        "rejected": dict(total.rejected),
        "direct": total.direct,
    }


def _batches(batches: BatcherStats) -> Json:
    return {
        "depth": batches.depth,
        "queued_bytes": batches.queued_bytes,
        "count": batches.batches,
        "rows": {str(rows): count for rows, count in sorted(batches.rows.items())},
        "released": dict(batches.released),
        "limit": batches.settings.limit,
        "queue_rows": batches.settings.queue_rows,
        "workers": batches.workers,
        "concurrency": batches.concurrency,
    }


def _cache(stats: AgentStats) -> list[Json] | None:
    if stats.cache is None:
        return None
    return [
        {
            "level": level.name,
            "hits": level.counts.hits,
            "misses": level.counts.misses,
            "entries": level.counts.entries,
            "bytes": level.counts.bytes,
        }
        for level in stats.cache.levels
    ]


def _drift(report: DriftReport) -> Json:
    features = [vars(feature) for feature in report.features]
    return {**vars(report), "features": features}
