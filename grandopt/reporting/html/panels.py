"""Which charts an agent has, what each is called, and what has to be known to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from grandopt.reporting.evidence import tuning, verified
from grandopt.reporting.history.series import Series
from grandopt.reporting.history.words import change_words
from grandopt.reporting.html import charts
from grandopt.reporting.html.charts import ChartLine, Row
from grandopt.reporting.html.drawing import AFTER, BAD, BEFORE, OTHER, SECOND, Drawings
from grandopt.reporting.html.over_time import over_time
from grandopt.reporting.html.under_load import load_note, under_load
from grandopt.reporting.report import AgentReport, CandidateReport, Report
from grandopt.reporting.view import ORIGINAL, after_figures

CONTENDERS = 2  # candidates beside the original and the shipped one in a chart of lines


@dataclass(frozen=True)
class Panel:
    """A chart with its title and a note on how to read it."""

    title: str
    svg: Markup
    note: str


def overview(drawings: Drawings, report: Report) -> Panel | None:
    """The speed-ups of all agents side by side."""
    rows = [
        Row(agent.name, agent.speedup.value, agent.speedup.low, agent.speedup.high, AFTER)
        for agent in report.agents
        if agent.speedup is not None
    ]
    svg = charts.speedups(drawings, rows, "Speed-up of each agent over its original")
    note = "The bar is the bootstrap interval of the paired ratio; the dashed line is the original."
    return None if svg is None else Panel("Speed-up of each agent", svg, note)


def panels(drawings: Drawings, agent: AgentReport, history: Series | None = None) -> list[Panel]:
    """The charts for which an agent's record, or its history on this machine, holds figures."""
    found = (
        *_speed(drawings, agent),
        *_evidence(drawings, agent),
        *_tuning(drawings, agent),
        *_history(drawings, history),
    )
    return [Panel(title, svg, note) for title, svg, note in found if svg is not None]


Found = Iterator[tuple[str, Markup | None, str]]


def _speed(drawings: Drawings, agent: AgentReport) -> Found:
    lines = _lines(agent)
    kept = any(line.figures.distribution is not None for line in lines)
    yield (
        "Latency distribution",
        charts.latency(drawings, lines, f"Latency distribution of {agent.name}, original and shipped"),
        "Single calls of all processes, reading the clock included. Further left and steeper is better."
        if kept
        else "This report keeps percentiles only; the lines between them are no measurement.",
    )
    rows = [
        Row(row.label, row.speedup.value, row.speedup.low, row.speedup.high, _colour(row))
        for row in sorted(
            agent.candidates, key=lambda row: row.speedup.value if row.speedup else 0, reverse=True
        )
        if row.speedup is not None
    ]
    yield (
        "Speed-up of the candidates",
        charts.speedups(drawings, rows, f"Speed-up of every measured candidate of {agent.name}"),
        "The bar is the bootstrap interval of the paired ratio; the dashed line is the original.",
    )
    yield (
        "Batch curve",
        charts.batches(drawings, agent.curves, f"Latency over the batch size of {agent.name}"),
        " ".join(f"{curve.label}: {curve.reason}." for curve in agent.curves if curve.reason)
        or "Points are measured, lines fitted: a fixed part plus one for each observation.",
    )
    if agent.loads:
        yield (
            "Under load",
            under_load(drawings, agent.loads, f"Latency of {agent.name} over answers a second"),
            load_note(agent.loads),
        )
    yield (
        "Cold start",
        charts.start_up(drawings, lines, f"Start-up times of {agent.name}, original and shipped"),
        "Each in a fresh process.",
    )
    yield (
        "Memory",
        charts.memory(drawings, lines, f"Memory of a fresh process of {agent.name}, original and shipped"),
        "The resident set of a process that runs nothing else.",
    )


def _evidence(drawings: Drawings, agent: AgentReport) -> Found:
    yield _errors(drawings, agent)
    rows = [
        Row(line_name, factor, colour=colour)
        for line_name, factor, colour in [
            (ORIGINAL, agent.original.limit_factor if agent.original else None, BEFORE),
            *(
                (row.label, row.figures.limit_factor if row.figures else None, _colour(row))
                for row in agent.candidates
            ),
        ]
        if factor
    ]
    rows.sort(key=lambda row: row.value)
    yield (
        "Distance to the machine's limit",
        charts.machine_limit(drawings, rows, f"Median latencies of {agent.name} over the machine's limit"),
        "The limit is what numpy's float32 kernels reached on one core: reading the weights once or "
        "doing the arithmetic, whichever takes longer. Better kernels and reduced precision can pass it.",
    )


def _errors(drawings: Drawings, agent: AgentReport) -> tuple[str, Markup | None, str]:
    rows, exact, undrawn = [], 0, 0
    for candidate in agent.candidates:
        evidence = verified(agent, candidate)
        if evidence is None or evidence.worst is None:
            continue
        share = evidence.worst.share
        if share:
            colour = _colour(candidate) if evidence.passed else BAD
            rows.append(Row(candidate.label, share, colour=colour))
        else:
            exact, undrawn = exact + (share == 0), undrawn + (share is None)
    rows.sort(key=lambda row: row.value)
    note = "The worst output of each verified candidate. The dashed line is the limit."
    note += f" Not drawn: {exact} without any error." if exact else ""
    note += f" Not drawn: {undrawn} whose error or limit is no positive number." if undrawn else ""
    svg = charts.errors(drawings, rows, f"Error of every verified candidate of {agent.name} over its limit")
    return "Precision error against the limit", svg, note


def _tuning(drawings: Drawings, agent: AgentReport) -> Found:
    found = tuning(agent)
    if found is None:
        return
    reused = f", {found.reused} of them from an earlier run" if found.reused else ""
    yield (
        "Tuning history",
        charts.trials(drawings, found, f"Score of every tuning trial of {agent.name}"),
        f"{len(found.trials)} trials{reused}, ended by: {found.stopped_by}. Lower is better.",
    )
    yield (
        "Parameter importance",
        charts.importance(drawings, found.importance or {}, f"Parameter importance of {agent.name}"),
        "The share of the difference between complete trials that each parameter explains.",
    )


def _history(drawings: Drawings, series: Series | None) -> Found:
    if series is None:
        return
    changes = " ".join(f"{change_words(change, series.figure)}." for change in series.changes)
    searched = series.reason or f"no change of {series.figure} found in {len(series.records)} runs"
    yield (
        "Over time",
        over_time(drawings, series, f"Median latency of {series.key.agent} over its runs on this machine"),
        changes or f"{searched[:1].upper()}{searched[1:]}.",
    )


def _lines(agent: AgentReport) -> list[ChartLine]:
    """The original, what was shipped or was the fastest, and the next candidates."""
    lines = [] if agent.original is None else [ChartLine(ORIGINAL, agent.original, BEFORE)]
    after = after_figures(agent)
    if agent.status == "optimized" and agent.shipped is not None and after is not None:
        lines.append(ChartLine(f"{agent.shipped.label} (shipped)", after, AFTER))
    elif agent.status == "measured" and after is not None:
        lines.append(ChartLine("the fastest", after, AFTER))
    others = [
        (row.label, row.figures)
        for row in agent.candidates
        if row.figures is not None and row.status != "chosen"
    ]
    others.sort(key=lambda pair: pair[1].p50_us)
    for (label, figures), colour in zip(others[:CONTENDERS], (SECOND, OTHER), strict=False):
        lines.append(ChartLine(label, figures, colour))
    return lines


def _colour(candidate: CandidateReport) -> str:
    match candidate.status:
        case "chosen":
            return AFTER
        case "refused" | "failed":
            return BAD
        case _:
            return OTHER
