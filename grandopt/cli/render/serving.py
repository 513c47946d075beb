"""The serving suite as Rich tables."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from grandopt.reporting.units import duration, rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from grandopt.suites.serving.result import Contestant, Line, ServingBenchmark

WIDTH = 80
NOTHING = "–"
WORDS = {True: ("met", "green"), False: ("missed", "red"), None: ("absent", "yellow")}


def serving_tables(found: ServingBenchmark) -> list[RenderableType]:
    """What was promised and what was measured, then every way of serving, then what has to be known."""
    parts: list[RenderableType] = [*_wrapped(_head(found))]
    for group in dict.fromkeys(line.group for line in found.lines):
        parts += [Text(), _lines(group, [line for line in found.lines if line.group == group])]
    for agent in dict.fromkeys(one.agent for one in found.contestants):
        parts += [Text(), _contestants(agent, [one for one in found.contestants if one.agent == agent])]
    return [*parts, *_remarks(found)]


def absences(found: ServingBenchmark) -> list[str]:
    """Who could not take part and why, a line each; with commands to copy, so they are not to be wrapped."""
    reasons = dict.fromkeys(one.reason for one in found.contestants if one.reason is not None)
    return [
        f"{' and '.join(one.name for one in found.contestants if one.reason == reason)}: {reason}"
        for reason in reasons
    ]


def _head(found: ServingBenchmark) -> str:
    served = ", ".join(f"{name} as {how}" for name, how in found.artifacts.items())
    machine = found.environment
    return (
        f"{served}; {machine.cpu_model}, {machine.available_cores} cores; {found.rounds} rounds of "
        f"{found.seconds:g} s, each way in a fresh process. "
        + ("Others wanted the processors, too: these figures are of a busy machine." * found.crowded)
    )


def _lines(group: str, lines: list[Line]) -> Table:
    table = Table(group, "wanted", "measured", "95 % interval", "", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for line in lines:
        word, style = WORDS[line.met]
        sign = "≥" if line.at_least else "≤"
        table.add_row(
            line.text,
            f"{sign} {_value(line.target, line.unit)}",
            NOTHING if line.value is None else _value(line.value, line.unit),
            "" if line.low is None or line.high is None else _interval(line),
            Text(word, style=style),
        )
    return table


def _contestants(agent: str, ones: list[Contestant]) -> Table:
    table = Table(agent, "callers", "answers/s", "p50", "p99", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in ones:
        if not one.callers:
            table.add_row(one.name, "", NOTHING, NOTHING, NOTHING)
        for place, row in enumerate(one.callers):
            times = (NOTHING if time is None else duration(1e6 * time) for time in (row.p50_s, row.p99_s))
            table.add_row("" if place else one.name, str(row.callers), rate(row.rate), *times)
    return table


def _remarks(found: ServingBenchmark) -> Iterator[RenderableType]:
    yield Text()
    for line in found.lines:
        if line.note and (line.unit != "times" or line.group.endswith("under load")):
            yield from _wrapped(f"{line.group}, {line.text}: {line.note}")
    for one in found.contestants:
        words = [f"best of its settings: {one.setting}"] if one.setting else []
        words += one.notes
        if words:
            yield from _wrapped(f"{one.agent}, {one.name}: {'; '.join(words)}")


def _wrapped(text: str) -> Iterator[Text]:
    for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield Text(line)


def _value(value: float, unit: str) -> str:
    if unit == "1/s":
        return f"{rate(value)}/s"
    digits = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{digits}×" if unit == "times" else f"{digits} {unit}"


def _interval(line: Line) -> str:
    return f"{line.low:.3g}–{line.high:.3g}"
