"""Recommendations about batches, queues and workers."""

from __future__ import annotations

from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters, ProcessMetrics
from grandopt.runtime.monitoring.recommendations.advice import Advice
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatchSettings

OFTEN = 0.1
"""Share of batches, or of requests, from which on something happens often."""
SOME = 0.01
WORTH = 0.05
"""A gain below this share is left alone: measurements do not tell it apart."""
BUSY = 0.85
IDLE = 0.2
HOP_NS = 5_000.0
"""What a request must wait beyond its own computation before computing it directly is worth a word."""


def larger_batches(
    agent: AgentMetrics, recent: Counters, cost: BatchCost, settings: BatchSettings
) -> Advice | None:
    """A higher limit, where batches end at it and larger ones are cheaper a row by the measured line."""
    limit, full = settings.limit, recent.released.get("full", 0)
    if not recent.batches or full / recent.batches < OFTEN:
        return None
    gain = (cost.of(limit) / limit) / (cost.of(2 * limit) / (2 * limit)) - 1
    if gain < WORTH:
        return None
    return Advice(
        "larger_batches",
        agent.agent,
        "limit",
        limit,
        2 * limit,
        f"{full} of {recent.batches} batches ended at the limit of {limit} rows while more waited",
        f"up to {gain:.0%} more rows a second, by the measured {_line(cost)}; a batch then takes up to "
        f"{cost.of(2 * limit) / 1e3:.3g} µs, now {cost.of(limit) / 1e3:.3g} µs",
        {"batches": recent.batches, "full": full, **_figures(cost)},
    )


def smaller_batches(
    agent: AgentMetrics, recent: Counters, cost: BatchCost, settings: BatchSettings
) -> Advice | None:
    """A lower limit, where deadlines are missed behind long batches and throughput has room."""
    limit, busy = settings.limit, agent.busy
    late = recent.missed + recent.rejected.get("deadline", 0)
    full = recent.released.get("full", 0)
    asked, half = recent.asked, limit // 2
    if not asked or late / asked < SOME or busy is None or not half or full / max(recent.batches, 1) < OFTEN:
        return None
    slower = (cost.of(half) / half) / (cost.of(limit) / limit)
    if busy * slower >= BUSY:
        return None
    return Advice(
        "smaller_batches",
        agent.agent,
        "limit",
        limit,
        half,
        f"{late} of {asked} requests missed their deadline, and {full} of {recent.batches} batches had "
        f"{limit} rows",
        f"a batch takes {cost.of(half) / 1e3:.3g} µs in the place of {cost.of(limit) / 1e3:.3g} µs, by the "
        f"measured {_line(cost)}, which is what a request waits behind it; the workers are then busy "
        f"{busy * slower:.0%} of the time, now {busy:.0%}",
        {"late": late, "asked": asked, "busy": busy, **_figures(cost)},
    )


def longer_deadlines(agent: AgentMetrics, recent: Counters, cost: BatchCost) -> Advice | None:
    """More time, where deadlines cannot be met although the workers rest and batches are not full."""
    late, asked, busy = recent.missed + recent.rejected.get("deadline", 0), recent.asked, agent.busy
    full = recent.released.get("full", 0) / max(recent.batches, 1)
    enough = agent.latency.p99_s
    if not asked or late / asked < SOME or busy is None or busy >= BUSY or full >= OFTEN or enough is None:
        return None
    return Advice(
        "longer_deadlines",
        agent.agent,
        "deadline_s",
        None,
        enough,
        f"{late} of {asked} requests were late or refused for their deadline, while the workers were busy "
        f"{busy:.0%} of the time and {full:.0%} of the batches were full; one observation alone takes "
        f"{cost.single_ns / 1e3:.3g} µs",
        f"99 % of the {recent.latency.total} answers that were given came within {enough * 1e6:.3g} µs; "
        f"shorter deadlines need a faster agent, not other settings",
        {
            "late": late,
            "asked": asked,
            "busy": busy,
            "p99_us": enough * 1e6,
            "single_us": cost.single_ns / 1e3,
        },
    )


def longer_queue(
    agent: AgentMetrics, recent: Counters, cost: BatchCost, settings: BatchSettings
) -> Advice | None:
    """Room for bursts, where the queue refused requests although the workers had time."""
    refused, busy = recent.rejected.get("rows", 0) + recent.rejected.get("displaced", 0), agent.busy
    asked, room = recent.asked, settings.queue_rows
    if not asked or refused / asked < SOME or busy is None or busy >= BUSY:
        return None
    wait = 2 * room * cost.of(settings.limit) / settings.limit / max(agent.concurrency, 1)
    return Advice(
        "longer_queue",
        agent.agent,
        "queue_rows",
        room,
        2 * room,
        f"the queue of {room} rows refused {refused} of {asked} requests, while the workers were busy "
        f"{busy:.0%} of the time: they came in bursts",
        f"bursts of up to {2 * room} rows are answered; the last of them waits up to {wait / 1e6:.3g} ms, by "
        f"the measured {_line(cost)}",
        {"refused": refused, "asked": asked, "busy": busy, **_figures(cost)},
    )


def more_workers(agent: AgentMetrics, recent: Counters, process: ProcessMetrics) -> Advice | None:
    """Another worker, where those that there are have no time left and a core has."""
    busy, size = agent.busy, agent.concurrency
    if busy is None or busy < BUSY or agent.workers in (None, "inline"):
        return None
    free = None if process.cores is None else process.granted - process.cores
    if free is None or free < 1:
        return None
    return Advice(
        "more_workers",
        agent.agent,
        "concurrency",
        size,
        size + 1,
        f"{size} worker(s) were busy {busy:.0%} of the time, and {free:.1f} of {process.granted:g} cores "
        f"idle",
        f"at most {1 / size:.0%} more throughput, as {size + 1} batches are computed at once",
        {
            "busy": busy,
            "cores": process.cores or 0.0,
            "granted": process.granted,
            "answered": recent.answered,
        },
    )


def fewer_workers(agent: AgentMetrics, recent: Counters) -> Advice | None:
    """Fewer workers, where what they do fits into fewer; worth it where they are processes with memory."""
    busy, size = agent.busy, agent.concurrency
    if busy is None or size < 2 or agent.workers != "processes" or busy >= IDLE:
        return None
    enough = max(1, min(size - 1, round(busy * size / 0.5)))
    return Advice(
        "fewer_workers",
        agent.agent,
        "concurrency",
        size,
        enough,
        f"{size} worker processes were busy {busy:.0%} of the time with {recent.answered} requests",
        f"the memory of {size - enough} process(es) is free; the others are then busy "
        f"{busy * size / enough:.0%} of the time at this rate",
        {"busy": busy, "answered": recent.answered},
    )


def overloaded(agent: AgentMetrics, recent: Counters, process: ProcessMetrics) -> Advice | None:
    """Less load, where refusals come of workers that never rest and there is no core for another."""
    refused = recent.rejections + recent.missed
    busy, asked = agent.busy, recent.asked
    if not asked or refused / asked < SOME or busy is None or busy < BUSY:
        return None
    rate = agent.per_second(recent.answered)
    if process.cores is not None and process.granted - process.cores >= 1 and agent.workers != "inline":
        return None  # that is `more_workers`
    return Advice(
        "overloaded",
        agent.agent,
        "offered rate",
        agent.per_second(asked),
        rate,
        f"{refused} of {asked} requests were refused or late, and the workers were busy {busy:.0%} of the "
        f"time",
        f"at the {rate:.0f} requests a second that are answered now nothing is refused for want of time; a "
        f"longer queue would only make all of them wait",
        {"refused": refused, "asked": asked, "busy": busy},
    )


def direct_calls(agent: AgentMetrics, recent: Counters, cost: BatchCost) -> Advice | None:
    """Computing on the loop's thread, where batches hold one request and the way to a worker costs more."""
    size, median = agent.requests_per_batch, agent.latency.p50_s
    if agent.workers in (None, "inline") or size is None or size > 1 + OFTEN or median is None:
        return None
    lost = median * 1e9 - cost.single_ns
    if lost < HOP_NS or lost < cost.single_ns:
        return None
    return Advice(
        "direct_calls",
        agent.agent,
        "workers",
        agent.workers,
        "inline",
        f"batches held {size:.2f} requests, whose median was {median * 1e6:.3g} µs; one computed directly "
        f"was measured at {cost.single_ns / 1e3:.3g} µs",
        f"up to {lost / 1e3:.3g} µs less for each request at the median (infer_now saves as much)",
        {"requests_per_batch": size, "p50_us": median * 1e6, "single_us": cost.single_ns / 1e3},
    )


def _line(cost: BatchCost) -> str:
    return f"{cost.per_observation_ns:.0f} ns a row + {cost.fixed_ns:.0f} ns a batch"


def _figures(cost: BatchCost) -> dict[str, float | str]:
    return {"per_observation_ns": cost.per_observation_ns, "fixed_ns": cost.fixed_ns}
