"""Requests through a replica, one after the other: a discrete-event simulation of the engine's own rule."""

from __future__ import annotations

import heapq
from bisect import bisect_right

import numpy as np

from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.stalls import Pauses
from grandopt.signature import Array

WARMUP = 0.05
"""The share of the requests that enter no figure: the queue begins empty."""


def simulate(replica: Replica, due_ns: Array, rng: np.random.Generator) -> Array:
    """The latency in ns of each request due at `due_ns` (rising), the first of them left out as warm-up.

    The engine's rule: whoever is idle takes what waits, at most so much, and nobody waits for a timer. The
    event loop's own thread answers in turns: what came during one is answered in the next. Of several idle
    workers each gets its part where computing takes longer than what is fixed (see `scheduling.dispatch`).
    The machine's stalls begin somewhere in what was watched, elsewhere for each worker; `rng` says where.
    """
    offsets = rng.random(replica.workers) * replica.stalls.seconds * 1e9
    pauses = [Pauses(replica.stalls, offset) for offset in offsets]
    latency = _turns(replica, due_ns, pauses[0]) if replica.inline else _batches(replica, due_ns, pauses)
    return latency[int(WARMUP * latency.size) :]


def _turns(replica: Replica, due_ns: Array, pauses: Pauses) -> Array:
    last, first, most = replica.occupied_ns().tolist(), replica.first_ns(), replica.most
    due, size = due_ns.tolist(), due_ns.size
    begins, counts, ends = [], [], []
    place, free = 0, 0.0
    while place < size:
        began = pauses.ready(max(free, due[place]))
        count = bisect_right(due, began, place, min(place + most, size)) - place
        free = pauses.worked(began, last[count - 1])
        begins.append(began)
        counts.append(count)
        ends.append(free)
        place += count
    return _spread(due_ns, np.array(begins), np.array(counts), np.array(ends), first)


def _spread(due_ns: Array, begins: Array, counts: Array, ends: Array, first: Array) -> Array:
    """Answers of a turn come one after the other, from the first to the last, evenly."""
    starts = np.cumsum(counts) - counts
    position = np.arange(due_ns.size) - np.repeat(starts, counts)
    share = position / np.repeat(np.maximum(counts - 1, 1), counts)
    share[np.repeat(counts, counts) == 1] = 1.0
    earliest = np.minimum(begins + first[counts - 1], ends)
    low, high = np.repeat(earliest, counts), np.repeat(ends, counts)
    return np.asarray(low + share * (high - low) - due_ns)


def _batches(replica: Replica, due_ns: Array, pauses: list[Pauses]) -> Array:
    taken, limit, way = replica.occupied_ns().tolist(), replica.limit, replica.way_ns
    splits_from = replica.cost.fixed_ns / max(replica.cost.per_observation_ns, 1e-9)
    due, size = due_ns.tolist(), due_ns.size
    ended = np.empty(size)
    idle = list(range(replica.workers))
    busy: list[tuple[float, int]] = []
    place, now = 0, 0.0
    while place < size:
        now = max(now, due[place]) if idle else max(now, busy[0][0])
        while busy and busy[0][0] <= now:
            idle.append(heapq.heappop(busy)[1])
        there = bisect_right(due, now, place) - place
        while idle and there:
            part = -(-there // len(idle))
            share = min(part, limit) if len(idle) > 1 and part >= splits_from else limit
            count, worker = min(share, there), idle.pop()
            end = pauses[worker].worked(pauses[worker].ready(now), taken[count - 1])
            ended[place : place + count] = end + way
            heapq.heappush(busy, (end, worker))
            place, there = place + count, there - count
    return ended - due_ns


def poisson_ns(rate: float, count: int, rng: np.random.Generator) -> Array:
    """`count` arrivals of a Poisson process of `rate` a second, in ns, rising; the same `rng` gives the same
    pattern at every rate."""
    return np.cumsum(rng.exponential(size=count)) * (1e9 / rate)
