"""The plan's word held against the load generator: three loads, planned for and found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.distributed.plan.capacity import by_formula, by_simulation
from grandopt.distributed.plan.measuring import served
from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.runs import Runs
from grandopt.errors import MeasurementError
from grandopt.measurement.load.settings import LoadSettings
from grandopt.measurement.statistics import SAMPLES_NEEDED
from grandopt.runtime.scheduling.workers.affinity import usable_cores

LIMITS = (1.0, 2.0, 4.0)
"""Times the p99 limit: each is a load of its own, since a looser one lets a replica carry more."""
WITHIN = 0.15
"""How far the plan may be off."""
ROUNDS = 6
"""Each with a run of every rate."""
FIRST = 10
"""Rounds of measuring the replica by which the rates are chosen; then there is one beside each run."""
LONGEST_S = 5.0
"""Of a run, where a slow agent needs more than a second for a p99."""
STEP = 1.06
"""From one rate to the next."""
BELOW, BEYOND = 0.6, 1.12
"""The lowest rate, as a share of what is planned for the tightest limit, and the highest of what the replica
can do at its typical speed."""
MOST_RATES = 14


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

    A shared machine is not as fast all the time, so measuring and load take turns: in each round the replica
    is measured, and one run of every rate is made. The plan knows nothing of those runs. The load generator
    keeps a core busy: workers, where there are any, are one fewer than cores. Raises MeasurementError where
    the plan is that no replica keeps a limit, and where no rate did or every one.
    """
    concurrency = max(1, usable_cores() - 1)
    limits_ns = [factor * p99_ms * 1e6 for factor in LIMITS]
    async with served(path, profile, trust=trust, concurrency=concurrency, seed=seed) as serving:
        tell("measuring a replica")
        for _ in range(FIRST):
            await serving.sustained.round()
        rates = _rates(serving.replica(), limits_ns[0], seed)
        seconds = min(LONGEST_S, max(1.0, 2 * SAMPLES_NEEDED[99] / (ROUNDS * rates[0])))
        load = serving.load(LoadSettings(seconds=seconds, seed=seed))
        runs = Runs(rates, limits_ns)
        for number in range(ROUNDS):
            tell(f"round {number + 1} of {ROUNDS}: measuring, and {len(rates)} rates by load")
            for rate in rates if number % 2 == 0 else rates[::-1]:
                runs.add(rate, await load.at(rate))
                await serving.sustained.round()
        replica = serving.replica()
    loads = [
        CheckedLoad(
            limit_ns / 1e6,
            qps,
            _planned(replica, limit_ns, seed),
            by_formula(replica, limit_ns),
            runs.highest_kept(limit_ns),
        )
        for limit_ns in limits_ns
    ]
    return Checked(replica, tuple(loads), replica.pace.busy)


def _planned(replica: Replica, limit_ns: float, seed: int) -> float:
    planned = by_simulation(replica, limit_ns, seed)
    if not planned:
        raise MeasurementError(
            f"by plan no replica keeps a p99 of {limit_ns / 1e6:g} ms on this machine, which went at "
            f"{100 * replica.pace.slowest:.0f} % of its typical speed for a tenth of a second; check a "
            f"longer --p99, or later"
        )
    return planned


def _rates(replica: Replica, limit_ns: float, seed: int) -> list[float]:
    """What is tried by load, in rising order: from well below what is planned to more than can be done."""
    low, high = BELOW * _planned(replica, limit_ns, seed), BEYOND * replica.highest_rate
    count = min(MOST_RATES, max(3, math.ceil(math.log(high / low) / math.log(STEP)) + 1))
    return [float(rate) for rate in np.geomspace(low, high, count)]
