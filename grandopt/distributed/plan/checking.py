"""The plan's word held against the load generator: three loads, planned for and found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.artifacts.artifact import read
from grandopt.distributed.plan.capacity import by_formula, by_simulation
from grandopt.distributed.plan.measuring import asking, measure_replica, observations
from grandopt.distributed.plan.replica import Replica
from grandopt.errors import MeasurementError
from grandopt.measurement.load.base import Load
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.settings import LoadSettings
from grandopt.measurement.statistics import SAMPLES_NEEDED
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.scheduling.workers.affinity import usable_cores

LIMITS = (1.0, 2.0, 4.0)
"""Times the p99 limit: each is a load of its own, since a looser one lets a replica carry more."""
WITHIN = 0.15
"""How far the plan may be off."""
LONGEST_S = 5.0
"""Of a run, where a slow agent needs more than a second for a p99."""
RUNS = 3
"""Of each rate."""
STEP = 1.15
PRECISION = 1.04
MOST_STEPS = 14


@dataclass(frozen=True)
class CheckedLoad:
    """`qps` under `p99_ms`: what one replica carries by plan and as found, and how many of them that makes.

    Numbers of replicas are not rounded up, so that a small number hides no difference.
    """

    p99_ms: float
    qps: float
    planned_rate: float
    formula_rate: float
    found_rate: float

    @property
    def planned(self) -> float:
        """Replicas by the plan."""
        return self.qps / self.planned_rate

    @property
    def found(self) -> float:
        """Replicas by what the load generator found."""
        return self.qps / self.found_rate

    @property
    def off(self) -> float:
        """By which share the plan is off; positive where it asks for more than it takes."""
        return self.planned / self.found - 1.0

    @property
    def holds(self) -> bool:
        """Whether that is within `WITHIN`."""
        return abs(self.off) <= WITHIN


@dataclass(frozen=True)
class Checked:
    """All loads of one check."""

    replica: Replica
    loads: tuple[CheckedLoad, ...]
    busy: bool
    """Whether the machine did something else meanwhile, so that a difference says nothing."""

    @property
    def holds(self) -> bool:
        """Whether the plan was close for each load."""
        return all(load.holds for load in self.loads)


async def check_plan(
    path: Path,
    profile: str,
    *,
    qps: float,
    p99_ms: float,
    trust: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Checked:
    """Measure a replica, plan for `qps` under three p99 limits, and find by load what a replica carries.

    A shared machine is not as fast all the time, so a replica is measured before and after each load, and the
    plan is the mean of both.
    The load generator keeps a core busy: workers, where there are any, are one fewer than cores. Raises
    MeasurementError where the plan is that no replica keeps the limit.
    """
    concurrency = max(1, usable_cores() - 1)

    async def measured() -> Replica:
        return await measure_replica(
            path, profile, trust=trust, concurrency=concurrency, seed=seed, tell=tell
        )

    loads, busy = [], False
    before = await measured()
    for factor in LIMITS:
        limit_ms = factor * p99_ms
        limit_ns = limit_ms * 1e6
        first = by_simulation(before, limit_ns, seed)
        if not first:
            raise MeasurementError(
                f"by plan no replica keeps a p99 of {limit_ms:g} ms on this machine, which did something "
                f"else for {100 * before.stalls.share:.2g} % of the time; check a longer --p99, or later"
            )
        tell(f"p99 of {limit_ms:g} ms: looking for the highest rate by load")
        found = await _found(path, profile, limit_ms, first, concurrency, trust=trust, seed=seed)
        after = await measured()
        loads.append(
            CheckedLoad(
                limit_ms,
                qps,
                _middle(first, by_simulation(after, limit_ns, seed)),
                _middle(by_formula(before, limit_ns), by_formula(after, limit_ns)),
                found,
            )
        )
        busy = busy or before.stalls.busy or after.stalls.busy
        before = after
    return Checked(before, tuple(loads), busy)


def _middle(before: float, after: float) -> float:
    """Of what is planned by two measurements: their geometric mean, the first where the other has none."""
    return math.sqrt(before * after) if after else before


async def _found(
    path: Path, profile: str, p99_ms: float, rate: float, concurrency: int, *, trust: bool, seed: int
) -> float:
    """The highest rate at which an engine of its own keeps the limit, by runs of a second or more."""
    artifact = read(path)

    seconds = min(LONGEST_S, max(1.0, 2 * SAMPLES_NEEDED[99] / rate))
    engine = Engine()
    await engine.initialize(profile)
    async with engine:
        name = engine.load(artifact.path, trust=trust, concurrency=concurrency)
        settings = LoadSettings(seconds=seconds, seed=seed)
        load = ConcurrentLoad(asking(engine, name), observations(artifact, seed), settings)
        return await highest_kept(load, rate, p99_ms * 1e6)


async def highest_kept(load: Load, rate: float, p99_ns: float) -> float:
    """The highest rate, within `PRECISION`, at which all but 1 % of the requests are answered in time.

    Begins at `rate`, and goes up or down. Of each rate some runs are made: their requests together give the
    p99, and of most of them the rate must have been sustained. Raises MeasurementError where none is kept.
    """
    low, high = 0.0, math.inf
    for _ in range(MOST_STEPS):
        runs = [await load.at(rate) for _ in range(RUNS)]
        latency = np.concatenate([run.latency_ns() for run in runs])
        sustained = sum(run.sustained for run in runs) > RUNS // 2
        if sustained and latency.size >= SAMPLES_NEEDED[99] and np.percentile(latency, 99) <= p99_ns:
            low = rate
        else:
            high = rate
        if high <= PRECISION * low:
            return math.sqrt(low * high)
        between = low > 0 and high < math.inf
        rate = math.sqrt(low * high) if between else rate * STEP if low else rate / STEP
    raise MeasurementError(
        f"no rate was found that keeps a p99 of {p99_ns / 1e6:g} ms: {low:.0f} requests a second did, "
        f"{high:.0f} did not; the machine is too busy, or the limit too short for it"
    )
