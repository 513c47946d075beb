"""Where the time of a call goes, as Rich tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.report import OperatorReport, Report

MOST = 12
"""Rows of a table; the report has them all."""


def operator_tables(report: Report) -> list[RenderableType]:
    """For each profiled engine of each agent a line about the engine itself, its operators and layers."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        for item in agent.operators:
            parts += [Text(), Text(one_line(f"{agent.name}, {item.label}: {_engine(item)}"), style="bold")]
            parts += _tables(item)
    return parts


def _engine(item: OperatorReport) -> str:
    words = [] if item.call_us is None else [f"{duration(item.call_us)} a call"]
    if item.engine_us is not None and item.engine_share is not None:
        words.append(f"{duration(item.engine_us)} ({item.engine_share:.0%}) for the engine itself")
    if item.engine_reason is not None:
        words.append(item.engine_reason)
    if item.fused:
        words.append(f"fused: {', '.join(item.fused)}")
    return "; ".join(words)


def _tables(item: OperatorReport) -> list[RenderableType]:
    if not item.operators:
        return [Text(one_line(f"no operators: {item.reason}"), style="dim")]
    operators = _table("operator", "layer", "calls", "time", "share", text=2)
    for row in item.operators[:MOST]:
        layer = "–" if row.layer is None else row.layer or "(network)"
        operators.add_row(
            Text(one_line(row.operator)), Text(one_line(layer)), f"{row.calls:g}", *_time(row.us, row.share)
        )
    if not item.layers:
        return [operators, Text("the engine does not keep the layers apart", style="dim")]
    layers = _table("layer", "time", "share", text=1)
    for place in item.layers[:MOST]:
        layers.add_row(Text(one_line(place.layer or "(network)")), *_time(place.us, place.share))
    return [operators, layers]


def _time(us: float, share: float) -> tuple[str, str]:
    return duration(us), f"{share:.0%}"


def _table(*columns: str, text: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="left" if place < text else "right", overflow="fold")
    return table
