"""What the regression gate found, and the baselines there are, as Rich tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.gate.view import cells, headline, machine_noise, notes
from grandopt.reporting.log import one_line
from grandopt.reporting.units import size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.gate.baseline import Baseline
    from grandopt.reporting.gate.result import AgentGate, GateReport, SideReport

STYLES = {"pass": "green", "regression": "bold red", "inconclusive": "yellow", "skipped": "dim"}


def gate_tables(report: GateReport) -> list[RenderableType]:
    """One table per agent, what is to be said about it, and the outcome in the last line."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        parts += [*_agent(agent), Text()]
    return [*parts, Text(one_line(headline(report)), style=STYLES[report.outcome])]


def baseline_table(baselines: Sequence[Baseline]) -> Table:
    """The saved baselines: when and where they were saved, and what they hold."""
    table = _table("name", "saved", "agents", "size", "machine")
    for item in baselines:
        table.add_row(
            one_line(item.name),
            item.saved[:16].replace("T", " "),
            str(len(item.agents)),
            size(sum(agent.bytes for agent in item.agents)),
            one_line(str(item.environment.get("cpu_model") or "unknown")),
        )
    return table


def agents_table(baseline: Baseline) -> Table:
    """The agents of one baseline."""
    table = _table("agent", "engine", "precision", "size", "digest")
    for agent in baseline.agents:
        table.add_row(
            one_line(agent.name), agent.engine, agent.precision, size(agent.bytes), agent.digest[:12]
        )
    return table


def _agent(agent: AgentGate) -> list[RenderableType]:
    sides = f"{_side(agent.baseline)} → {_side(agent.candidate)}"
    noise = machine_noise(agent)
    told = sides if noise is None else f"{sides} · {noise}"
    title = Text.assemble((one_line(agent.name), "bold"), f" · {one_line(told)}")
    table = _table("figure", "baseline", "candidate", "change", "interval", "limit", "outcome")
    for figure in agent.figures:
        *words, outcome = cells(figure)
        table.add_row(*words, Text(outcome, style=STYLES[figure.outcome]))
    return [title, table, *(Text(one_line(note)) for note in notes(agent))]


def _side(side: SideReport) -> str:
    return " ".join(word for word in (side.engine, side.precision) if word) or side.path


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    right = {"baseline", "candidate", "change", "interval", "limit", "size", "agents"}
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table
