"""Recommendations about caches, memory, inputs, and which form of the agent answers."""

from __future__ import annotations

from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters, ProcessMetrics
from grandopt.runtime.monitoring.recommendations.advice import Advice
from grandopt.runtime.scheduling.calibration import BatchCost

LOOKUPS = 1000
"""Fewer do not tell a hit rate well."""
NEAR = 0.9


def cache_that_costs(agent: AgentMetrics, recent: Counters, cost: BatchCost) -> Advice | None:
    """Switching the cache off, where its look-ups cost more than the answers that it saves."""
    rate, asked = agent.hit_rate, recent.cache_hits + recent.cache_misses
    if agent.cache is None or rate is None or asked < LOOKUPS:
        return None
    times = [level.p50 for level in agent.cache.levels if level.on]
    if not times or any(time is None for time in times):
        return None
    # A hit ends at some level, so the first one's time is the least that every look-up costs.
    first = times[0] or 0.0
    saved = rate * cost.single_ns / 1e9
    if first <= saved:
        return None
    return Advice(
        "cache_that_costs",
        agent.agent,
        "cache",
        "on",
        "off",
        f"{rate:.1%} of {asked} look-ups found a value; one takes {first * 1e6:.3g} µs or more, and the "
        f"agent {cost.single_ns / 1e3:.3g} µs",
        f"at least {(first - saved) * 1e6:.3g} µs less a request: a look-up's time less the share of calls "
        f"that it saves",
        {"hit_rate": rate, "lookups": asked, "lookup_us": first * 1e6, "single_us": cost.single_ns / 1e3},
    )


def larger_cache(agent: AgentMetrics, recent: Counters) -> Advice | None:
    """More room for the first level, where it evicts and what it evicted is asked for below it."""
    if (
        agent.cache is None
        or len(agent.cache.levels) < 2
        or recent.cache_hits + recent.cache_misses < LOOKUPS
    ):
        return None
    first, below = agent.cache.levels[0], agent.cache.levels[1:]
    looked = first.counts.hits + first.counts.misses
    found = sum(level.counts.hits for level in below)
    slower = max((level.p50 for level in below if level.p50 is not None), default=None)
    if not first.counts.evictions or found < 0.1 * looked or slower is None or first.p50 is None:
        return None
    return Advice(
        "larger_cache",
        agent.agent,
        f"cache level {first.name}",
        first.counts.entries,
        None if first.counts.entries is None else 2 * first.counts.entries,
        f"the first level evicted {first.counts.evictions} values, and {found} of {looked} look-ups were "
        f"found further down since the cache began",
        f"up to {(slower - first.p50) * 1e6:.3g} µs less for those: the difference of the levels' median "
        f"times",
        {"evictions": first.counts.evictions, "found_below": found, "lookups": looked},
    )


def less_memory(process: ProcessMetrics) -> Advice | None:
    """Less of everything that holds memory, before the system ends the process."""
    if process.resident is None or not process.memory_limit or process.resident < NEAR * process.memory_limit:
        return None
    share = process.resident / process.memory_limit
    return Advice(
        "less_memory",
        None,
        "memory",
        process.resident,
        int(NEAR * process.memory_limit),
        f"process and workers hold {process.resident >> 20} MiB, {share:.0%} of what they may",
        f"{(process.resident - int(NEAR * process.memory_limit)) >> 20} MiB less keeps a tenth free; at the "
        f"limit the system ends the process (smaller caches and queue_bytes, fewer worker processes)",
        {"resident": process.resident, "limit": process.memory_limit},
    )


def drifted_inputs(agent: AgentMetrics) -> Advice | None:
    """Another look at the agent, where its inputs are no longer those that it was made for."""
    drift = agent.drift
    if drift is None or not drift.drifted or drift.origin is None:
        return None
    worst = drift.features[0]
    whose = "recorded samples" if drift.origin == "samples" else "checkpoint's own normaliser"
    return Advice(
        "drifted_inputs",
        agent.agent,
        "samples",
        drift.origin,
        "observations of today",
        f"{drift.drifted_features} element(s) of the inputs have drifted from the {whose}: {worst.input}"
        f"[{worst.element}] by {worst.shift:+.2f} standard deviations (z {worst.shift_z:+.1f}), its spread "
        f"is {worst.spread:.2f} times as large, by {drift.rows} rows",
        "no gain in speed: what was verified of reduced precision was verified on the old inputs; record new "
        "samples, optimize with them, and judge the policy on them",
        {"drifted": drift.drifted_features, "shift": worst.shift, "z": worst.shift_z, "rows": drift.rows},
    )


def closer_decisions(agent: AgentMetrics) -> Advice | None:
    """Another look at the agent, where it decides by a hair more often than it did."""
    grown = [item for item in agent.margins or () if item.grew]
    if not grown:
        return None
    worst = max(grown, key=lambda item: item.share or 0.0)
    share, low, high = worst.share or 0.0, worst.low or 0.0, worst.high or 0.0
    return Advice(
        "closer_decisions",
        agent.agent,
        "precision",
        None,
        None,
        f"{share:.1%} (99 % interval {low:.1%} … {high:.1%}) of the last {worst.rows} decisions of "
        f"{worst.output} "
        f"have a margin below {worst.limit:.3g}, which {worst.usual:.0%} of the usual ones had",
        "no gain in speed: such decisions turn by rounding and noise; compare with the original on them, or "
        "serve float32",
        {"share": share, "low": low, "high": high, "rows": worst.rows},
    )


def original_serves(agent: AgentMetrics, recent: Counters) -> Advice | None:
    """Finding out why the original still answers, where an optimization has not taken over."""
    busy = agent.busy
    if agent.original is None or busy is None:
        return None
    return Advice(
        "original_serves",
        agent.agent,
        "artifact",
        "original",
        "optimized",
        f"the original answers ({agent.original}), and computed {busy:.1%} of the window for "
        f"{recent.answered} requests",
        f"nothing can be expected before an artifact was measured; at most those {busy:.1%} of a core's "
        f"time are saved",
        {"busy": busy, "answered": recent.answered},
    )
