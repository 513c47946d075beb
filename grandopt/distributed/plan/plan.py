"""The plan: replicas, machines and batch limits for a load, with what to expect of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from grandopt.distributed.plan.bulk_queue import formula
from grandopt.distributed.plan.capacity import by_formula, by_simulation, unloaded_p99
from grandopt.distributed.plan.recorded import replicas_for
from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.simulation import poisson_ns, settled, simulate
from grandopt.errors import ConfigError
from grandopt.signature import Array

RUNS = 8
REQUESTS = (20_000, 100_000)
"""Of each of the simulated runs whose spread is the interval, a second's between these."""
T_95 = 2.365
"""Student's t for 95 % and the seven degrees of freedom of eight runs."""
DIFFERENT = 1.1
"""Formula and simulation agree when they are within this factor of each other."""
ENOUGH = 0.99
"""A smaller batch limit is suggested when it carries this share of what the best one does."""


@dataclass(frozen=True)
class Demand:
    """`qps` requests a second on average, 99 % of them answered within `p99_ms`, on machines of `cores`.

    `machines` is how many there are, None for as many as it takes. `due_ns` are recorded arrivals, None for
    a Poisson process. Of the requests, those not answered within `deadline_ms` are counted.
    """

    qps: float
    p99_ms: float
    cores: int
    machines: int | None = None
    deadline_ms: float | None = None
    due_ns: Array | None = None


@dataclass(frozen=True)
class Simulated:
    """A figure by simulation: the mean of some runs, and its 95 % interval over them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """What carries the load. Rates are requests a second.

    `capacity` is what one replica carries within the p99 limit, by simulation, and `capacity_formula` by the
    formula, None where arrivals are recorded. `needed` is `qps` ÷ `capacity`, and `replicas` the whole
    number. `batch_limit` is None where the event loop's thread computes. `headroom` is the share by which
    the load can grow until these replicas miss the limit. Latencies are in µs, from when a request comes;
    `late` is the share that misses the deadline. `met` says whether the machines that there are suffice.
    """

    demand: Demand
    replica: Replica
    capacity: float
    capacity_formula: float | None
    needed: float
    replicas: int
    per_machine: int
    machines: int
    batch_limit: int | None
    utilisation: float
    headroom: float
    p50_us: Simulated
    p99_us: Simulated
    p50_formula_us: float | None
    p99_formula_us: float | None
    late: float | None
    met: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Impossible:
    """No number of replicas answers in time: `least_p99_ms` is what hardly loaded ones need."""

    demand: Demand
    replica: Replica
    least_p99_ms: float


def make_plan(demand: Demand, replica: Replica, seed: int = 0) -> Plan | Impossible:
    """How many replicas as the measured one the demand takes, and what to expect of them.

    Requests are spread evenly at random over the replicas, so that each sees a Poisson process, or its share
    of the recorded arrivals. Raises ConfigError where a machine has fewer cores than a replica keeps busy.
    """
    if demand.cores < replica.cores:
        raise ConfigError(
            f"a replica as measured here keeps {replica.cores} cores busy, and a machine would have "
            f"{demand.cores}; measure a smaller one with --workers {demand.cores}"
        )
    limit_ns = demand.p99_ms * 1e6
    replica = with_best_limit(replica, limit_ns)
    capacity = by_simulation(replica, limit_ns, seed)
    if not capacity:
        return Impossible(demand, replica, unloaded_p99(replica, seed) / 1e6)
    needed = demand.qps / capacity
    replicas = math.ceil(needed)
    if demand.due_ns is not None:
        found = replicas_for(replica, demand.due_ns, limit_ns, replicas, seed)
        if found is None:
            return Impossible(demand, replica, unloaded_p99(replica, seed) / 1e6)
        replicas = found
    per_machine = demand.cores // replica.cores
    machines = math.ceil(replicas / per_machine)
    shared = _expected(replica, demand, replicas, seed)
    plan = Plan(
        demand=demand,
        replica=replica,
        capacity=capacity,
        capacity_formula=by_formula(replica, limit_ns) if demand.due_ns is None else None,
        needed=needed,
        replicas=replicas,
        per_machine=per_machine,
        machines=machines,
        batch_limit=None if replica.inline else replica.limit,
        utilisation=shared.utilisation,
        headroom=replicas * capacity / demand.qps - 1.0,
        p50_us=shared.p50,
        p99_us=shared.p99,
        p50_formula_us=shared.p50_formula,
        p99_formula_us=shared.p99_formula,
        late=shared.late,
        met=demand.machines is None or machines <= demand.machines,
        remarks=(),
    )
    return replace(plan, remarks=tuple(_remarks(plan)))


def with_best_limit(replica: Replica, p99_ns: float) -> Replica:
    """The smallest batch limit, a power of two or the engine's own, that carries all but what any does."""
    if replica.inline:
        return replica
    limits = [2**power for power in range(replica.limit.bit_length()) if 2**power < replica.limit]
    carried = {limit: by_formula(replica.with_limit(limit), p99_ns) for limit in (*limits, replica.limit)}
    best = max(carried.values())
    return replica.with_limit(next(limit for limit, rate in carried.items() if rate >= ENOUGH * best))


@dataclass(frozen=True)
class _Expected:
    p50: Simulated
    p99: Simulated
    p50_formula: float | None
    p99_formula: float | None
    utilisation: float
    late: float | None


def _expected(replica: Replica, demand: Demand, replicas: int, seed: int) -> _Expected:
    """What each of so many replicas does with its share."""
    rate = demand.qps / replicas
    count = int(min(max(rate, REQUESTS[0]), REQUESTS[1]))
    found = []
    for run in range(RUNS):
        rng = np.random.default_rng((seed, 1, run))
        if demand.due_ns is None:
            due = poisson_ns(rate, count, rng)
        else:
            due = demand.due_ns[rng.integers(replicas, size=demand.due_ns.size) == 0]
        if due.size:
            found.append(settled(simulate(replica, due, rng, begins=run / RUNS)))
    theory = formula(replica, rate) if demand.due_ns is None else None
    late = None
    if demand.deadline_ms is not None:
        late = float(np.mean(np.concatenate(found) > demand.deadline_ms * 1e6))
    return _Expected(
        p50=_over_runs([float(np.percentile(latency, 50)) / 1e3 for latency in found]),
        p99=_over_runs([float(np.percentile(latency, 99)) / 1e3 for latency in found]),
        p50_formula=None if theory is None else theory.percentile_ns(50) / 1e3,
        p99_formula=None if theory is None else theory.percentile_ns(99) / 1e3,
        utilisation=rate / replica.highest_rate,
        late=late,
    )


def _over_runs(values: list[float]) -> Simulated:
    mean = float(np.mean(values))
    half = T_95 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Simulated(mean, max(0.0, mean - half), mean + half)


def _remarks(plan: Plan) -> list[str]:
    """Where formula and simulation differ, and what carries less than was asked for."""
    found = []
    pace = plan.replica.pace
    if pace.busy:
        found.append(
            f"this machine went at {100 * pace.speed:.0f} % of its typical speed on average while it was "
            f"measured; measure again when it is idle, unless replicas are to share machines like that"
        )
    if plan.p99_us.high > 1e3 * plan.demand.p99_ms:
        found.append(
            f"the interval of the simulated p99 reaches beyond {plan.demand.p99_ms:g} ms: with "
            f"{plan.replicas + 1:,} replicas it is surer to be kept"
        )
    if plan.capacity_formula is not None and not _agree(plan.capacity, plan.capacity_formula):
        factor = plan.capacity_formula / plan.capacity
        several = "" if plan.replica.workers == 1 else ", and takes several workers for a faster one"
        found.append(
            f"by the formula a replica carries {factor:.2f} times what it does by simulation: it knows no "
            f"slow moments of the machine{several}; the plan goes by the simulation"
        )
    if plan.p99_formula_us is not None and not _agree(plan.p99_us.value, plan.p99_formula_us):
        found.append(
            f"at the planned load the p99 by simulation is {plan.p99_us.value / plan.p99_formula_us:.2f} "
            f"times that by the formula, which knows no slow moments"
        )
    if not plan.met and plan.demand.machines is not None:
        carried = plan.demand.machines * plan.per_machine * plan.capacity
        found.append(
            f"{plan.machines} machines are needed and {plan.demand.machines} are there, which carry "
            f"{carried:,.0f} requests a second within the p99 limit"
        )
    return found


def _agree(one: float, other: float) -> bool:
    return 1 / DIFFERENT <= one / max(other, 1e-9) <= DIFFERENT
