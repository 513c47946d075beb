"""The formula: a queue whose server takes all that waits, up to a limit, as one batch.

Neuts, "A general class of bulk queues with Poisson input" (Annals of Mathematical Statistics 38, 1967): what
is left when a batch ends is a Markov chain, since the next one takes `T(n)` for its n requests, and a Poisson
number comes meanwhile. Its stationary distribution, and from that the distribution of the latency, are
computed here numerically. For T(n) = a·n + b with no limit the mean has a closed form (Inoue, "Queueing
analysis of GPU-based inference servers with dynamic batching", Performance Evaluation 147, 2021), which the
tests compare with.

Several workers are taken for one that is as fast as all together, and whose last batch takes as long as one
of theirs does: an approximation, which is why the simulation stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np

from grandopt.distributed.plan.replica import Replica
from grandopt.signature import Array

MOMENTS = 8
"""Points within a batch at which a request may have come."""
LEAST_WEIGHT = 1e-6
STATES = 4
"""The chain reaches to so many times the limit; what is beyond counts as there."""
SMALLEST = 64
HIGHEST_LOAD = 0.999


@dataclass(frozen=True)
class Latencies:
    """A distribution of latencies in ns: values, and their shares; `busy` of the time the server works."""

    values_ns: Array
    shares: Array
    busy: float

    @property
    def mean_ns(self) -> float:
        """The mean."""
        return float(np.dot(self.values_ns, self.shares))

    def percentile_ns(self, percent: float) -> float:
        """The smallest value that so many percent do not exceed."""
        order = np.argsort(self.values_ns)
        reached = np.cumsum(self.shares[order])
        return float(self.values_ns[order][np.searchsorted(reached, percent / 100 * reached[-1])])


def latencies(
    rate: float, occupied_ns: Array, own_ns: Array | None = None, first_ns: Array | None = None
) -> Latencies | None:
    """The latency of Poisson requests, `rate` a second, where a batch of n takes `occupied_ns[n - 1]`.

    A request's own batch takes `own_ns`, by default the same, and the first of its answers is there after
    `first_ns`, by default all at once. None where the server cannot keep up.
    """
    own = occupied_ns if own_ns is None else own_ns
    first_of = own if first_ns is None else np.minimum(first_ns, own)
    limit, per_ns = len(occupied_ns), rate / 1e9
    if per_ns * float(np.min(occupied_ns / np.arange(1, limit + 1))) >= HIGHEST_LOAD:
        return None
    states = max(SMALLEST, STATES * limit) + 1
    sizes = np.clip(np.arange(states), 1, limit)
    left = np.maximum(np.arange(states) - limit, 0)
    arrived = _poisson(per_ns * occupied_ns, states)
    stationary = _stationary(arrived, sizes, left)
    # How long a cycle from one end to the next takes, and what comes during its batch, by the state before.
    took = occupied_ns[sizes - 1]
    idle = stationary[0] / per_ns
    busy = float(np.dot(stationary, took) / (np.dot(stationary, took) + idle))
    first = stationary[0]  # requests that found the server idle, in a cycle
    weights = stationary * took * per_ns
    kept = np.flatnonzero(weights > LEAST_WEIGHT)
    values, shares = [np.array([own[0]])], [np.array([first])]
    for state in kept:
        found, share = _during(
            float(took[state]),
            int(left[state]),
            arrived[sizes[state] - 1],
            occupied_ns,
            own,
            first_of,
            per_ns,
        )
        values.append(found)
        shares.append(share * weights[state])
    whole = np.concatenate(shares)
    return Latencies(np.concatenate(values), whole / whole.sum(), busy)


def formula(replica: Replica, rate: float) -> Latencies | None:
    """The same of a replica; the machine's stalls are not in it."""
    taken = replica.occupied_ns()
    servers = 1 if replica.inline else replica.workers
    first = replica.first_ns() if replica.inline else None
    return latencies(rate, taken / servers, taken + replica.way_ns, first)


def _during(
    took: float, left: int, arrived: Array, occupied: Array, own: Array, first: Array, per_ns: float
) -> tuple[Array, Array]:
    """Latencies of what comes while a batch of `took` is computed, behind `left` others."""
    limit = len(occupied)
    others = np.flatnonzero(arrived > LEAST_WEIGHT)  # that come beside it, before or after
    moment = (np.arange(MOMENTS) + 0.5) / MOMENTS
    ahead = left + np.floor(moment[:, None] * (others[None, :] + 1))  # each place among them is as likely
    before = np.floor(ahead / limit)
    meanwhile = before * occupied[-1] * per_ns
    last = np.clip(left + 1 + others[None, :] - before * limit + meanwhile, 1, limit).astype(np.int64)
    place = np.clip((ahead - before * limit) / np.maximum(last - 1, 1), 0.0, 1.0)
    computed = first[last - 1] + place * (own[last - 1] - first[last - 1])
    found = (1 - moment[:, None]) * took + before * occupied[-1] + computed
    shares = np.broadcast_to(arrived[others] / MOMENTS, found.shape)
    return found.ravel(), shares.ravel()


def _poisson(means: Array, states: int) -> Array:
    """[mean, k] for k below `states`; what is beyond counts as the last."""
    k = np.arange(states)
    factorials = np.array([lgamma(count + 1) for count in range(states)])
    safe = np.maximum(means, 1e-300)[:, None]
    chances = np.exp(k * np.log(safe) - safe - factorials)
    chances[:, -1] += np.maximum(0.0, 1.0 - chances.sum(axis=1))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def _stationary(arrived: Array, sizes: Array, left: Array) -> Array:
    """Of how many wait when a batch ends. An idle server's next batch is of the one that comes."""
    states = len(sizes)
    moves = np.zeros((states, states))
    for state in range(states):
        rest = int(left[state])
        row = arrived[sizes[state] - 1]
        moves[state, rest:] = row[: states - rest]
        moves[state, -1] += row[states - rest :].sum()
    system = moves.T - np.eye(states)
    system[-1] = 1.0
    wanted = np.zeros(states)
    wanted[-1] = 1.0
    found = np.maximum(np.linalg.solve(system, wanted), 0.0)
    return np.asarray(found / found.sum())
