"""How many replicas recorded arrivals take, which no rate says: they come in bursts."""

from __future__ import annotations

import numpy as np

from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.simulation import settled, simulate
from grandopt.errors import ConfigError
from grandopt.runtime.histogram import too_few
from grandopt.signature import Array

MOST_REPLICAS = 1_000_000
LOOKED_AT = 8
"""Replicas whose requests are simulated, of all among which they are spread."""


def scaled(due_ns: Array, qps: float | None) -> tuple[Array, float]:
    """Arrivals in the same pattern at `qps` a second on average (without one at their own rate), and that.

    Raises ConfigError for arrivals of no duration or too few for a p99.
    """
    few = too_few(due_ns.size, 99)
    span = float(due_ns[-1] - due_ns[0])
    if few is not None or span <= 0:
        raise ConfigError(f"the recorded arrivals cannot be planned for: {few or 'all come at once'}")
    own = (due_ns.size - 1) / span * 1e9
    if qps is None:
        return due_ns.astype(np.float64), own
    return due_ns * (own / qps), qps


def replicas_for(replica: Replica, due_ns: Array, p99_ns: float, least: int, seed: int) -> int | None:
    """The smallest number, `least` at least, among which the arrivals are spread so that each keeps the p99.

    None where even one replica for each request does not.
    """

    def holds(count: int) -> bool:
        return _p99(replica, due_ns, count, seed) <= p99_ns

    low, high = least - 1, least
    most = min(MOST_REPLICAS, max(least, due_ns.size))
    while not holds(high):
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _p99(replica: Replica, due_ns: Array, replicas: int, seed: int) -> float:
    """Of the requests of some replicas together."""
    rng = np.random.default_rng((seed, 2, replicas))
    place = rng.integers(replicas, size=due_ns.size)
    found = []
    for which in range(min(replicas, LOOKED_AT)):
        due = due_ns[place == which]
        if due.size:
            found.append(settled(simulate(replica, due, rng)))
    return float(np.percentile(np.concatenate(found), 99)) if found else np.inf
