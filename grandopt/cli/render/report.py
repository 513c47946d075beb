"""A report as Rich tables: two short lines per agent on a narrow terminal, one long line on a wide one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.log import one_line
from grandopt.reporting.machine_limit import below_limit, limit_rows
from grandopt.reporting.recommendations.words import in_short
from grandopt.reporting.units import duration, factor, interval, rate, ratio, size
from grandopt.reporting.verdict import counts, left_out, remarks, verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.report import AgentReport, CandidateReport, Figures, Report

WIDE = 152  # of the summary
WIDE_CANDIDATES = 100
NOTHING = "–"
STYLES = {
    "optimized": "green",
    "chosen": "green",
    "original kept": "cyan",
    "measured": "",
    "slower": "dim",
    "pruned": "dim",
    "not measured": "dim",
    "not run": "yellow",
    "unavailable": "yellow",
    "refused": "red",
    "failed": "red",
}


def summary(report: Report, width: int) -> list[RenderableType]:
    """The result table of a report, one line that says what was run, and what else has to be said.

    Fits `width` columns from 80 on; from 152 on, old and new figures stand side by side.
    """
    table = _wide(report) if width >= WIDE else _narrow(report)
    return [_head(report), *_machine(report), table, *_notes(report), _plain(counts(report.agents))]


def advice_lines(report: Report) -> list[RenderableType]:
    """What to try next, a line for each kind of recommendation; nothing where there is none."""
    lines = in_short(report)
    if not lines:
        return []
    head = "what to try next (why, and with which command: grandopt report show -v)"
    return [Text(), _plain(head, "bold"), *(_plain(f"  {line}") for line in lines)]


def candidate_tables(report: Report, width: int) -> list[RenderableType]:
    """One table per agent with everything that was tried, then the reason of what was not measured."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        if agent.candidates or agent.refusals:
            parts.extend(_candidates(agent, wide=width >= WIDE_CANDIDATES))
    return parts


def trial_tables(report: Report) -> list[RenderableType]:
    """One table per agent with every trial of its study, the best first, then its verdict."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        trials = (agent.tuning or {}).get("trials", [])
        table = _table("trial", "candidate", "state", "threads", "batch", "p50", "obs/s", right=4)
        for trial in sorted(trials, key=lambda trial: (trial["score"] is None, trial["score"] or 0.0)):
            choice, figures = trial["choice"], trial["figures"]
            table.add_row(
                str(trial["number"]),
                _plain(choice["candidate"]),
                trial["state"],
                str(choice["threads"]),
                str(choice["batch"]),
                NOTHING if figures is None else duration(figures["latency_us"]),
                NOTHING if figures is None else rate(figures["throughput"]),
            )
        parts += [Text(), _plain(agent.name, "bold"), table, _plain(agent.reason or "")]
        parts += [
            _plain(f"trial {trial['number']}, {trial['choice']['candidate']}: {trial['reason']}", "dim")
            for trial in trials
            if trial["reason"]
        ]
    return parts


def _head(report: Report) -> Text:
    words: list[str] = [report.kind]
    if report.status == "partial":
        words.append("interrupted: partial report")
    if report.profile is not None and "name" in report.profile:
        words.append(f"profile {report.profile['name']}")
    words += [f"threads {report.threads}", report.started, duration(report.duration_s * 1e6)]
    return _plain(" · ".join(words), "bold")


def _machine(report: Report) -> list[RenderableType]:
    model, cores = report.environment.get("cpu_model"), report.environment.get("available_cores")
    return [] if model is None else [_plain(f"{model}, {cores} core(s)", "dim")]


def _table(*columns: str, right: int = 0) -> Table:
    """A table whose last `right` columns are numbers; only text columns may be folded."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for index, name in enumerate(columns):
        number = index >= len(columns) - right
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _narrow(report: Report) -> Table:
    table = _table(
        "agent\n  verdict",
        "engine\nprecision",
        "p50 old\nnew",
        "p99 old\nnew",
        "QPS old\nnew",
        "mem old\nnew",
        "speed-up\ninterval",
        right=5,
    )
    for agent in report.agents:
        before, after = agent.original, _after(agent)
        table.add_row(
            Text.assemble(one_line(agent.name), "\n  ", (agent.status, STYLES[agent.status])),
            _plain(_engine(agent)),
            _stack(before, after, _p50),
            _stack(before, after, _p99),
            _stack(before, after, _qps),
            _stack(before, after, _memory),
            _speedup(agent),
        )
    return table


def _wide(report: Report) -> Table:
    columns = ("agent", "verdict", "engine", "precision", "p50", "p99", "speed-up", "QPS", "memory")
    table = _table(*columns, right=5)
    for agent in report.agents:
        before, after = agent.original, _after(agent)
        table.add_row(
            _plain(agent.name),
            _plain(agent.status, STYLES[agent.status]),
            _plain(agent.shipped.engine if agent.shipped is not None else NOTHING),
            _plain(agent.shipped.precision if agent.shipped is not None else NOTHING),
            _arrow(before, after, _p50),
            _arrow(before, after, _p99),
            _plain(ratio(agent.speedup) if agent.speedup is not None else NOTHING),
            _arrow(before, after, _qps),
            _arrow(before, after, _memory),
        )
    return table


def _notes(report: Report) -> list[RenderableType]:
    """What the table has no room for: why an agent was not optimized, and what was missed."""
    notes: list[RenderableType] = []
    for agent in report.agents:
        said = remarks(agent) if agent.status == "optimized" else [verdict(agent)]
        if said:
            notes.append(_plain(f"{agent.name}: {'; '.join(said)}", STYLES[agent.status]))
        notes += [_plain(f"{agent.name}: statistics not used: {line}", "yellow") for line in left_out(agent)]
    return notes


def _candidates(agent: AgentReport, *, wide: bool) -> list[RenderableType]:
    columns = ["candidate", "status", "p50", "p99", "speed-up", "× limit"]
    table = _table(*columns, *(["QPS", "cpu s/M", "memory", "size"] if wide else []), right=8 if wide else 4)
    if agent.original is not None:
        table.add_row(*_candidate_row("original", "", agent.original, "", wide=wide))
    for candidate in agent.candidates:
        gain = ratio(candidate.speedup) if candidate.speedup is not None else NOTHING
        table.add_row(*_candidate_row(candidate.label, candidate.status, candidate.figures, gain, wide=wide))
    reasons = [
        _plain(f"{one_line(what)}: {one_line(why)}", "dim")
        for what, why in [
            *((candidate.label, _why(candidate)) for candidate in agent.candidates if candidate.reason),
            *((refusal.stage, refusal.reason) for refusal in agent.refusals),
        ]
    ]
    return [Text(), _plain(agent.name, "bold"), table, *_machine_limit(agent), *reasons]


def _candidate_row(label: str, status: str, figures: Figures | None, gain: str, *, wide: bool) -> list[Text]:
    cells: list[Callable[[Figures], str]] = [_p50, _p99]
    row = [_plain(label), _plain(status, STYLES.get(status, "")), *(_cell(figures, cell) for cell in cells)]
    row += [_plain(gain), _cell(figures, _limit)]
    if wide:
        row += [_cell(figures, cell) for cell in (_qps, _cpu, _memory, _bytes)]
    return row


def _machine_limit(agent: AgentReport) -> list[RenderableType]:
    """What the column "× limit" is a multiple of."""
    rows = limit_rows(agent)
    if not rows or agent.weight_bytes is None:
        return []
    work = f"{size(agent.weight_bytes)} of weights"
    work += "" if agent.flop is None else f", {rate(agent.flop)} FLOP"
    lines = [f"  {name}{': ' if name else ''}{text}" for name, text in rows]
    return [
        *(_plain(line, "dim") for line in (f"the machine's limit for a call ({work}):", *lines)),
        *(_plain(line, "yellow") for line in below_limit(agent)),
    ]


def _why(candidate: CandidateReport) -> str:
    return f"{candidate.status}: {candidate.reason}"


def _engine(agent: AgentReport) -> str:
    return NOTHING if agent.shipped is None else f"{agent.shipped.engine}\n{agent.shipped.precision}"


def _after(agent: AgentReport) -> Figures | None:
    return agent.shipped.figures if agent.shipped is not None else None


def _speedup(agent: AgentReport) -> Text:
    if agent.speedup is None:
        return _plain(NOTHING)
    return Text.assemble((factor(agent.speedup), STYLES[agent.status]), "\n", interval(agent.speedup))


def _stack(before: Figures | None, after: Figures | None, cell: Callable[[Figures], str]) -> Text:
    return Text.assemble((_value(before, cell), "dim"), "\n", _value(after, cell))


def _arrow(before: Figures | None, after: Figures | None, cell: Callable[[Figures], str]) -> Text:
    return Text.assemble((_value(before, cell), "dim"), " → ", _value(after, cell))


def _cell(figures: Figures | None, cell: Callable[[Figures], str]) -> Text:
    return _plain(_value(figures, cell))


def _value(figures: Figures | None, cell: Callable[[Figures], str]) -> str:
    return NOTHING if figures is None else cell(figures)


def _p50(figures: Figures) -> str:
    return duration(figures.p50_us)


def _p99(figures: Figures) -> str:
    return NOTHING if figures.p99_us is None else duration(figures.p99_us)


def _qps(figures: Figures) -> str:
    return NOTHING if figures.qps is None else rate(figures.qps)


def _cpu(figures: Figures) -> str:
    """Core-seconds per million calls, spinning threads included."""
    return NOTHING if figures.cpu_s_per_million is None else f"{figures.cpu_s_per_million:.3g}"


def _limit(figures: Figures) -> str:
    """Distance to the machine's limit: the median as a multiple of it."""
    return NOTHING if figures.limit_factor is None else f"{figures.limit_factor:.1f}×"


def _memory(figures: Figures) -> str:
    return NOTHING if figures.resident_mb is None else size(figures.resident_mb * 1e6)


def _bytes(figures: Figures) -> str:
    return NOTHING if figures.artifact_bytes is None else size(figures.artifact_bytes)


def _plain(text: str, style: str = "") -> Text:
    """Text as it is, safe for a terminal; line breaks of a stacked cell stay."""
    return Text("\n".join(one_line(line) for line in text.split("\n")), style=style)
