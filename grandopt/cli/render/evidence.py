"""What stands behind the summary, as Rich tables: figures, errors, batch curves, studies, and the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting import view
from grandopt.reporting.evidence import tuning
from grandopt.reporting.log import one_line
from grandopt.reporting.recommendations.words import advice_text
from grandopt.reporting.units import duration, rate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.evidence import TuningRecord
    from grandopt.reporting.report import AgentReport, CurveReport, Report


def evidence_tables(report: Report) -> list[RenderableType]:
    """Per agent every figure before and after, errors against their limits, batch curves, the study, advice.

    Then the machine, the versions, and the command that does the run again. Fits 80 columns. Raises
    ReportError, in one line, for evidence that cannot be read.
    """
    parts: list[RenderableType] = []
    for agent in report.agents:
        parts += [Text(), _text(agent.name, "bold"), *_agent(agent)]
    parts += [Text(), _text("machine and versions", "bold")]
    parts.append(_table((), view.machine_facts(report), right=()))
    parts += [Text(), _text("run it again", "bold"), _text(view.command_line(report))]
    return parts


def _agent(agent: AgentReport) -> list[RenderableType]:
    parts: list[RenderableType] = [_table((), view.facts(agent), right=())]
    figures = view.figure_rows(agent)
    if figures:
        parts.append(_table(("figure", "before", "after"), figures, right=(1, 2)))
    errors = view.error_rows(agent)
    if errors:
        parts.append(_table(("candidate", "error", "limit", "same action"), errors, right=(1, 2, 3)))
    for curve in agent.curves:
        parts += _curve(curve)
    study = tuning(agent)
    return [*parts, *(_study(study) if study is not None else []), *_advice(agent)]


def _advice(agent: AgentReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for number, item in enumerate(map(advice_text, agent.recommendations), start=1):
        rows = [("because", item.evidence), ("run", item.command), ("gain", item.gain)]
        parts.append(_text(f"{number}. {item.advice}"))
        parts.append(_table((), [(f"   {name}", text) for name, text in rows if text], right=()))
    return [_text("what to try next", "dim"), *parts] if parts else []


def _curve(curve: CurveReport) -> list[RenderableType]:
    rows = [
        (str(point.batch), duration(point.p50_us), rate(point.throughput), "" if point.stable else "unstable")
        for point in curve.points
    ]
    parts: list[RenderableType] = [_text(f"batches, {curve.label}", "dim")]
    parts += [_text(curve.reason, "dim")] if curve.reason else []
    return [*parts, _table(("batch", "p50", "obs/s", ""), rows, right=(0, 1, 2))] if rows else parts


def _study(study: TuningRecord) -> list[RenderableType]:
    best = "none complete" if study.best is None else f"best trial {study.best}"
    words = f"study for {study.goal}: {len(study.trials)} trials, ended by: {study.stopped_by}, {best}"
    rows = [
        (
            str(trial.number),
            trial.choice.candidate,
            trial.state,
            str(trial.choice.threads),
            str(trial.choice.batch),
            view.NOTHING if trial.score is None else f"{trial.score:.4g}",
        )
        for trial in study.trials
    ]
    shares = sorted((study.importance or {}).items(), key=lambda item: -item[1])
    return [
        _text(words, "dim"),
        _table(("trial", "candidate", "state", "threads", "batch", "score"), rows, right=(0, 3, 4, 5)),
        *(
            [_text("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in shares))]
            if shares
            else []
        ),
    ]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int]) -> Table:
    """A table of plain text; without `columns` one of names and their values, with no head."""
    table = Table(
        box=box.SIMPLE_HEAD if columns else None,
        show_header=bool(columns),
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, name in enumerate(columns or ("", "")):
        table.add_column(Text(name), justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style)
