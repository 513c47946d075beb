"""A fleet as Rich tables: one for each agent, a row for each kind of machine. Fits 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.fleet import words
from grandopt.reporting.log import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.fleet.fleet import Fleet, FleetAgent


def fleet_tables(fleet: Fleet) -> list[RenderableType]:
    """Kinds of machine with numbers, agents by those numbers, regressions, and what there is to gain."""
    parts: list[RenderableType] = [Text(words.head(fleet), style="bold")]
    numbers = {kind.key: f"[{number}]" for number, kind in enumerate(fleet.kinds, 1)}
    for kind in fleet.kinds:
        runs, newest, versions, places = words.kind_cells(kind)
        parts.append(
            _text(
                f"{numbers[kind.key]} {words.kind_words(kind)}: {runs}, newest {newest}, grandopt "
                f"{versions}, {places}"
            )
        )
    for agent in fleet.agents:
        parts += [Text(), _text(agent.name, "bold"), _table(agent, numbers)]
    regressions = [change for change in fleet.changes if change.regression]
    if regressions:
        parts += [Text(), Text("slower with a new version", style="bold")]
        parts += [_text(f"► {words.change_words(change)}", "yellow") for change in regressions]
    if fleet.gains:
        parts += [Text(), Text("what each kind of machine would gain", style="bold")]
        parts += [_text(f"{numbers[gain.machine]} {words.gain_words(gain)}") for gain in fleet.gains]
    return [*parts, Text(), Text(words.APART, style="dim")]


def _table(agent: FleetAgent, numbers: dict[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("kind", "engine", "p50 old", "p50 new", "speed-up", ""):
        number = name in ("p50 old", "p50 new", "speed-up")
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for shipping in agent.shippings:
        cells = words.shipping_cells(shipping)
        table.add_row(Text(numbers[shipping.kind.key]), *(_text(cell) for cell in cells))
    return table


def _text(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style)
