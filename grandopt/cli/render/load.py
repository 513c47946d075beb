"""Load curves for people: a table for each way of serving, and a drawing of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.cli.render.load_drawing import drawing
from grandopt.reporting.load import factors
from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration, rate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.load import LoadCurveReport, LoadPointReport
    from grandopt.reporting.report import AgentReport, Report

NOTHING = "–"
LEGEND = (
    "Rates are a second; latencies count from when a request was due. good: within the deadline. refused: "
    "turned away. late: p99 from due to made. ! less load than asked for: requests were made late (the "
    "generator shares a thread with what it calls). ~ more requests than answers."
)


def load_lines(report: Report) -> list[RenderableType]:
    """For each agent that was put under load its tables, a drawing, and factors between the ways."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        if agent.loads:
            parts += [Text(one_line(agent.name), style="bold"), *_agent(agent), Text()]
    return [*parts, Text(LEGEND, style="dim")] if parts else []


def _agent(agent: AgentReport) -> Iterator[RenderableType]:
    for curve in agent.loads:
        yield Text(_head(curve))
        if curve.points:
            yield _table(curve)
    drawn = drawing([(curve.label, _marks(curve)) for curve in agent.loads])
    if drawn:
        yield Text()
        yield from (Text(line, no_wrap=True) for line in drawn)
    own = agent.loads[0].label
    for label, factor in factors(agent.loads):
        yield Text(f"saturation: {one_line(own)} takes {factor:.3g}× the rate of {one_line(label)}")


def _head(curve: LoadCurveReport) -> str:
    label = one_line(curve.label)
    if curve.reason is not None and not curve.points:
        return f"{label}: not measured: {one_line(curve.reason)}"
    if curve.saturation is None:
        return label
    return f"{label}: sustains {rate(curve.saturation)}/s"


def _table(curve: LoadCurveReport) -> Table:
    callers = curve.arrivals == "callers"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in (
        "callers" if callers else "offered",
        "answered",
        "p50",
        "p99",
        "p99.9",
        "good",
        "refused",
        "late",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for point in curve.points:
        table.add_row(
            str(point.callers) if callers else rate(point.offered),
            rate(point.achieved),
            *(NOTHING if us is None else duration(us) for us in (point.p50_us, point.p99_us, point.p999_us)),
            NOTHING if point.goodput is None else rate(point.goodput),
            _share(point, point.overloaded + point.deadline),
            NOTHING if callers or point.lateness_p99_us is None else duration(point.lateness_p99_us),
            _remark(point),
        )
    return table


def _share(point: LoadPointReport, count: int) -> str:
    return NOTHING if not count else f"{100 * count / point.requests:.3g} %"


def _remark(point: LoadPointReport) -> str:
    marks = ("" if point.kept_up else "!") + ("" if point.sustained else "~")
    lost = [f"{count} {name}" for name, count in (("failed", point.failed), ("lost", point.lost)) if count]
    return " ".join([marks, *lost]).strip()


def _marks(curve: LoadCurveReport) -> list[tuple[float, float]]:
    """Answers a second, and the p99 in µs, of the points that have one."""
    return [(point.achieved, point.p99_us) for point in curve.points if point.p99_us and point.achieved]
