"""The highest rate at which one replica keeps its p99 within a limit: by the formula, and by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grandopt.distributed.plan.bulk_queue import formula
from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.simulation import poisson_ns, simulate

PRECISION = 1.01
SECONDS, WARMUP_S = 1.0, 0.2
"""Of a simulated run, and before it: as long as those by which the load generator looks for the same."""
LEAST = 5_000
"""Requests of a run, which lasts longer where fewer come in its time."""
RUNS = (3, 8)
"""As many as the machine's pace is known for seconds, between these; together they give the p99."""
QUIET = 0.02
"""The share of the highest rate at which a replica is as good as unloaded."""


def by_formula(replica: Replica, p99_ns: float) -> float:
    """Requests a second, within 1 %; 0 where even a hardly loaded replica takes longer."""
    return _highest(replica.highest_rate, lambda rate: _formula_p99(replica, rate) <= p99_ns)


def by_simulation(replica: Replica, p99_ns: float, seed: int = 0) -> float:
    """Requests a second, within 1 %, at the machine's pace; the same seed gives the same."""
    return _highest(replica.sustained_rate, lambda rate: simulated_p99(replica, rate, seed) <= p99_ns)


def simulated_p99(replica: Replica, rate: float, seed: int = 0) -> float:
    """The p99 in ns of some runs of a second or more, which begin all along the measured pace."""
    warmup = int(rate * WARMUP_S)
    count = warmup + int(max(LEAST, rate * SECONDS))
    runs = int(np.clip(replica.pace.seconds / SECONDS, *RUNS))
    found = []
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        latency = simulate(replica, poisson_ns(rate, count, rng), rng, begins=run / runs)
        found.append(latency[warmup:])
    return float(np.percentile(np.concatenate(found), 99))


def unloaded_p99(replica: Replica, seed: int = 0) -> float:
    """The p99 in ns that no replica of this kind gets below, whatever the load."""
    return simulated_p99(replica, QUIET * replica.highest_rate, seed)


def _formula_p99(replica: Replica, rate: float) -> float:
    found = formula(replica, rate)
    return np.inf if found is None else found.percentile_ns(99)


def _highest(most: float, holds: Callable[[float], bool]) -> float:
    low, high = QUIET * most, most
    if not holds(low):
        return 0.0
    while high > PRECISION * low:
        between = (low * high) ** 0.5
        if holds(between):
            low = between
        else:
            high = between
    return low
