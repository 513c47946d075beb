"""What the protocol tells of an agent's requests."""

from __future__ import annotations

import time

from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.scheduling.stats import BatcherStats
from grandopt.serving.plane.counts import Reason
from grandopt.serving.plane.metadata import Json
from grandopt.serving.plane.model import Model


def model_statistics(model: Model) -> Json:
    """Counts since the agent was loaded first, and sums of nanoseconds.

    Requests are counted where "inference_stats" are, rows in "inference_count", without those that came from
    a cache, and batches in "execution_count". "compute_infer" is the time that requests spent in the batches
    which answered them, "queue" the rest of the time until their answers were there. Requests through shared
    memory are among them, with the time of their computation alone. What a look-up in a cache takes is not
    measured.
    """
    counts, stats, beside = model.counts, model.agent.stats(), model.agent.direct.beside()
    success, beside_ns = counts.success + beside.answered, beside.latency.sum_ns
    batches = stats.batches
    waited_ns = 0 if batches is None else counts.later_ns - batches.computed_ns
    queue_ns = max(0, waited_ns)
    infer_ns = counts.once_ns + counts.later_ns - queue_ns + beside_ns
    output_ns = max(0, counts.request_ns - counts.input_ns - counts.once_ns - counts.later_ns)
    failed = sum(failures_of(model).values())
    hits, misses = _lookups(stats.cache)
    return {
        "name": model.served.name,
        "version": model.served.version,
        "last_inference": _wall_ms(counts.last_ns),
        "inference_count": counts.rows + beside.answered - hits,
        "execution_count": stats.direct.answered if batches is None else batches.batches + beside.answered,
        "inference_stats": {
            "success": _duration(success, counts.request_ns + beside_ns),
            "fail": _duration(failed, counts.failed_ns),
            "queue": _duration(success - hits, queue_ns),
            "compute_input": _duration(success - hits, counts.input_ns),
            "compute_infer": _duration(success - hits, infer_ns),
            "compute_output": _duration(success - hits, output_ns),
            "cache_hit": _duration(hits, 0),
            "cache_miss": _duration(misses, 0),
        },
        "batch_stats": _by_size(stats.batches),
        "memory_usage": [],
        "response_stats": {},
    }


def failures_of(model: Model) -> dict[Reason, int]:
    """How many requests failed, by Triton's reason, those through shared memory among them."""
    found, beside = dict(model.counts.failures), model.agent.direct.beside()
    found["BACKEND"] += beside.failed
    found["REJECTED"] += beside.missed
    return found


def _wall_ms(ns: int) -> int:
    """A time of the clock in milliseconds since 1970; 0 for none."""
    return (time.time_ns() - time.perf_counter_ns() + ns) // 1_000_000 if ns else 0


def _by_size(batches: BatcherStats | None) -> list[Json]:
    """Batches by their number of rows. What is done before and after is not measured for each size."""
    if batches is None:
        return []
    return [
        {"batch_size": rows, "compute_infer": _duration(count, ns)}
        for rows, (count, ns) in sorted(batches.sizes.items())
    ]


def _lookups(cache: CacheStats | None) -> tuple[int, int]:
    """How many requests were answered from a cache, and for how many nothing was found."""
    if cache is None:
        return 0, 0
    return sum(level.counts.hits for level in cache.levels), cache.computed


def _duration(count: int, ns: int) -> Json:
    return {"count": count, "ns": ns}
