"""The history as Rich tables: one per agent, machine and kind of run, the newest run last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.history.series import value
from grandopt.reporting.history.words import UNITS, change_words, title
from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.history.records import Record
    from grandopt.reporting.history.series import Series

NOTHING = "–"
CHANGED = "►"
ALWAYS = ("p50", "p99", "speedup")
"""Figures that have a column of their own; any other that is followed takes the place of p99."""


def history_tables(series: Sequence[Series], *, shown: int | None) -> list[RenderableType]:
    """A table for each series, its last `shown` runs (None: all), then what changed. Fits 80 columns."""
    parts: list[RenderableType] = []
    for item in series:
        parts += [*([Text()] if parts else []), *_series(item, shown)]
    return parts


def _series(series: Series, shown: int | None) -> list[RenderableType]:
    records = series.records if shown is None else series.records[-shown:]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    third = "p99" if series.figure in ALWAYS else series.figure
    for name in ("", "run (UTC)", "shipped", "p50 old", "p50 new", third, "speed-up"):
        number = name not in ("run (UTC)", "shipped", "")
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for record in records:
        table.add_row(*(_text(cell) for cell in _row(series, record)))
    left = len(series.records) - len(records)
    parts: list[RenderableType] = [_text(title(series), "bold")]
    parts += [_text(f"… {left} earlier runs, shown with -v", "dim")] if left else []
    parts.append(table)
    if any(record.agent.stable is False for record in records):
        parts.append(_text("~ the measurement was unsteady", "dim"))
    parts += [
        _text(f"{CHANGED} {change_words(change, series.figure)}", "yellow") for change in series.changes
    ]
    if series.reason is not None:
        parts.append(_text(series.reason, "dim"))
    elif not series.changes:
        parts.append(_text(f"no change of {series.figure} found in {len(series.records)} runs", "dim"))
    return parts


def _row(series: Series, record: Record) -> tuple[str, ...]:
    agent = record.agent
    made = NOTHING if agent.engine is None else f"{agent.engine} {agent.precision}"
    unsteady = "~" if agent.stable is False else ""
    return (
        "" if series.change_at(record) is None else CHANGED,
        record.run.started[:16].replace("T", " "),
        made if agent.status != "failed" else "failed",
        NOTHING if agent.original_p50_us is None else duration(agent.original_p50_us),
        unsteady + _cell(record, "p50"),
        _cell(record, "p99" if series.figure in ALWAYS else series.figure),
        _cell(record, "speedup"),
    )


def _cell(record: Record, figure: str) -> str:
    found = value(record, figure)
    return NOTHING if found is None else UNITS[figure](found)


def _text(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style)
