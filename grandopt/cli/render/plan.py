"""A capacity plan, and its check under load, as tables and as documents."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.distributed.plan.plan import Impossible, Plan, Simulated
from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration, rate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.distributed.plan.checking import Checked
    from grandopt.distributed.plan.replica import Replica

WIDTH = 80
NOTHING = "–"


def plan_tables(plan: Plan) -> list[RenderableType]:
    """What carries the load, what to expect of it, what is counted, and where the two ways differ."""
    demand = plan.demand
    lines = [
        f"{plan.replicas:,} {_count('replica', plan.replicas)} on {plan.machines:,} "
        f"{_count('machine', plan.machines)} of {demand.cores} cores carry {rate(demand.qps)} requests a "
        f"second ({'recorded arrivals' if demand.due_ns is not None else 'Poisson arrivals'}) of "
        f"{one_line(plan.replica.agent)} with a p99 of at most {duration(1e3 * demand.p99_ms)}",
        *_replica(plan.replica),
    ]
    table = Table("", "simulation", "95 % interval", "formula", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("one replica carries", _rate(plan.capacity), NOTHING, _rate(plan.capacity_formula))
    table.add_row("p50 at this load", *_figure(plan.p50_us, plan.p50_formula_us))
    table.add_row("p99 at this load", *_figure(plan.p99_us, plan.p99_formula_us))
    after = [
        f"replicas, not rounded: {plan.needed:.3g}; {plan.per_machine} on a machine",
        f"each works {100 * plan.utilisation:.0f} % of the time; the load can grow by "
        f"{100 * plan.headroom:.0f} % until the p99 limit is missed"
        + (" if its pattern is Poisson" if demand.due_ns is not None else ""),
    ]
    if plan.batch_limit is not None:
        after.append(f"batch_limit={plan.batch_limit}")
    if plan.late is not None and demand.deadline_ms is not None:
        after.append(f"{100 * plan.late:.3g} % would miss {duration(1e3 * demand.deadline_ms)}")
    return [*_wrapped(lines), Text(), table, Text(), *_wrapped([*after, *plan.remarks])]


def check_tables(found: Checked) -> list[RenderableType]:
    """For each load what a replica carries by plan and by load, and how many that makes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("p99 limit", "planned", "formula", "found", "replicas", "found", "off", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for load in found.loads:
        table.add_row(
            duration(1e3 * load.p99_ms),
            _rate(load.planned_rate),
            _rate(load.formula_rate) if load.formula_rate else NOTHING,
            _rate(load.found_rate),
            f"{load.planned:.3g}",
            f"{load.found:.3g}",
            f"{100 * load.off:+.1f} %",
            "met" if load.holds else "missed",
        )
    head = f"{one_line(found.replica.agent)}: replicas for {rate(found.loads[0].qps)} requests a second"
    return [*_wrapped([head, *_replica(found.replica)]), Text(), table]


def impossible_words(found: Impossible) -> str:
    """Why no number of replicas will do, and what would."""
    return (
        f"no number of replicas answers 99 % within {duration(1e3 * found.demand.p99_ms)}: hardly loaded "
        f"ones of {found.replica.agent} need {duration(1e3 * found.least_p99_ms)} on this machine, "
        f"where work took up to {duration(found.replica.pace.longest_us)} longer than it typically does; ask "
        f"for a --p99 above that"
    )


def plan_document(found: Plan | Impossible) -> dict[str, Any]:
    """For `--json`."""
    demand = found.demand
    shared: dict[str, Any] = {
        "qps": demand.qps,
        "p99_ms": demand.p99_ms,
        "cores": demand.cores,
        "machines_given": demand.machines,
        "deadline_ms": demand.deadline_ms,
        "arrivals": "poisson" if demand.due_ns is None else "recorded",
        "replica": replica_document(found.replica),
    }
    if isinstance(found, Impossible):
        return {**shared, "met": False, "least_p99_ms": found.least_p99_ms}
    fields = {
        name: value for name, value in vars(found).items() if name not in ("demand", "replica", "remarks")
    }
    plain = {name: asdict(value) if isinstance(value, Simulated) else value for name, value in fields.items()}
    return {**shared, **plain, "remarks": list(found.remarks)}


def check_document(found: Checked) -> dict[str, Any]:
    """For `--json`."""
    loads = [
        {**asdict(load), "planned": load.planned, "found": load.found, "off": load.off, "holds": load.holds}
        for load in found.loads
    ]
    return {
        "replica": replica_document(found.replica),
        "loads": loads,
        "holds": found.holds,
        "busy": found.busy,
    }


def replica_document(replica: Replica) -> dict[str, Any]:
    """What was measured of a replica."""
    each, fixed = replica.line
    return {
        "agent": replica.agent,
        "digest": replica.digest,
        "engine": replica.engine,
        "precision": replica.precision,
        "profile": replica.profile,
        "kind": replica.kind,
        "workers": replica.workers,
        "cores": replica.cores,
        "executor_cost": asdict(replica.cost),
        "per_request_ns": each,
        "fixed_ns": fixed,
        "transport_ns": replica.transport_ns,
        "highest_rate": replica.highest_rate,
        "turns": [asdict(turn) for turn in replica.turns],
        "lone_ns": replica.lone_ns,
        "pace": {
            "seconds": replica.pace.seconds,
            "speed": replica.pace.speed,
            "slowest_tenth_s": replica.pace.slowest,
            "longest_us": replica.pace.longest_us,
        },
    }


def _replica(replica: Replica) -> list[str]:
    each, fixed = replica.line
    cost = replica.cost
    where = (
        "the event loop's own thread computes, in turns"
        if replica.inline
        else f"{replica.workers} {replica.kind} compute"
    )
    transport = (
        f"{duration(replica.transport_ns / 1e3)} of it for the transport"
        if replica.transport_ns
        else "transport not counted (--transport-us)"
    )
    return [
        f"a replica: one process on {replica.cores} {_count('core', replica.cores)}, {where}; n requests "
        f"take {duration(each / 1e3)} · n + {duration(fixed / 1e3)}, measured through the engine with their "
        f"callers in the same process; of that {replica.engine} {replica.precision} itself "
        f"{duration(cost.per_observation_ns / 1e3)} · n + {duration(cost.fixed_ns / 1e3)}; {transport}",
        f"in {replica.pace.seconds:.1f} s this machine went at {100 * replica.pace.speed:.0f} % of its "
        f"typical speed on average, at {100 * replica.pace.slowest:.0f} % in the slowest tenth of a second; "
        f"the longest delay was {duration(replica.pace.longest_us)}",
    ]


def _figure(found: Simulated, formula: float | None) -> tuple[str, str, str]:
    return (
        duration(found.value),
        f"{duration(found.low)} – {duration(found.high)}",
        NOTHING if formula is None else duration(formula),
    )


def _rate(value: float | None) -> str:
    return NOTHING if value is None else f"{rate(value)}/s"


def _count(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _wrapped(lines: list[str]) -> list[RenderableType]:
    return [Text(line) for text in lines for line in textwrap.wrap(text, WIDTH)]
