"""Requests through a replica, one after the other: a discrete-event simulation of the engine's own rule."""

from __future__ import annotations

import heapq
from bisect import bisect_right

import numpy as np

from grandopt.distributed.plan.pace import Progress
from grandopt.distributed.plan.replica import Replica
from grandopt.signature import Array

WARMUP = 0.05
"""The share of the requests that is left out where the queue began empty."""


def simulate(replica: Replica, due_ns: Array, rng: np.random.Generator, begins: float | None = None) -> Array:
    """The latency in ns of each request due at `due_ns` (rising).

    The engine's rule: whoever is idle takes what waits, at most so much, and nobody waits for a timer. The
    event loop's own thread answers in turns: what came during one is answered in the next. Of several idle
    workers each gets its part where computing takes longer than what is fixed (see `scheduling.dispatch`).
    The machine goes as it went while the replica was measured, from `begins` of that time on, or from a
    moment that `rng` draws; other workers than the first from another one.
    """
    offsets = rng.random(replica.workers) * replica.pace.seconds * 1e9
    if begins is not None:
        offsets[0] = begins * replica.pace.seconds * 1e9
    servers = [Progress(replica.pace, offset) for offset in offsets]
    return _turns(replica, due_ns, servers[0]) if replica.inline else _batches(replica, due_ns, servers)


def settled(latency_ns: Array) -> Array:
    """Without those of the beginning."""
    return latency_ns[int(WARMUP * latency_ns.size) :]


def _turns(replica: Replica, due_ns: Array, server: Progress) -> Array:
    occupied, most = replica.occupied_ns(), replica.most
    taken, due, size = occupied.tolist(), due_ns.tolist(), due_ns.size
    begins, counts, ends = [], [], []
    place, free = 0, 0.0
    while place < size:
        began = max(free, due[place])
        count = bisect_right(due, began, place, min(place + most, size)) - place
        free = server.worked(began, taken[count - 1])
        begins.append(began)
        counts.append(count)
        ends.append(free)
        place += count
    begun, rows = np.array(begins), np.array(counts)
    stretch = (np.array(ends) - begun) / occupied[rows - 1]
    first, last = (begun + own[rows - 1] * stretch for own in (replica.first_ns(), replica.last_ns()))
    return _spread(rows, first, last) - due_ns


def _spread(counts: Array, first: Array, last: Array) -> Array:
    """Answers of a turn come one after the other, from the first to the last, evenly."""
    starts = np.cumsum(counts) - counts
    position = np.arange(int(counts.sum())) - np.repeat(starts, counts)
    share = position / np.repeat(np.maximum(counts - 1, 1), counts)
    share[np.repeat(counts, counts) == 1] = 1.0
    low, high = np.repeat(first, counts), np.repeat(np.maximum(first, last), counts)
    return np.asarray(low + share * (high - low))


def _batches(replica: Replica, due_ns: Array, servers: list[Progress]) -> Array:
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
            end = servers[worker].worked(now, taken[count - 1])
            ended[place : place + count] = end + way
            heapq.heappush(busy, (end, worker))
            place, there = place + count, there - count
    return ended - due_ns


def poisson_ns(rate: float, count: int, rng: np.random.Generator) -> Array:
    """`count` arrivals of a Poisson process of `rate` a second, in ns, rising; the same `rng` gives the same
    pattern at every rate."""
    return np.cumsum(rng.exponential(size=count)) * (1e9 / rate)
