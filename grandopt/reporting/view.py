"""What a report says to people, in words: every cell as text, whether it goes to a page or to a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from grandopt.reporting.admission import evidence_words
from grandopt.reporting.certificate import certified_words
from grandopt.reporting.evidence import Verified, verified
from grandopt.reporting.figures import Figures, MeanLeadReport
from grandopt.reporting.machine_limit import limit_rows
from grandopt.reporting.report import AgentReport, CandidateReport, LeadReport, Report
from grandopt.reporting.units import duration, factor, interval, rate, ratio, size
from grandopt.reporting.verdict import left_out, verdict
from grandopt.reporting.warmth import after_other_work, like_with_like

NOTHING = "–"
ORIGINAL = "original"


@dataclass(frozen=True)
class SummaryRow:
    """One agent in the table at the top."""

    name: str
    status: str
    verdict: str
    engine: str
    p50: tuple[str, str]
    p99: tuple[str, str]
    memory: tuple[str, str]
    speedup: str
    interval: str


@dataclass(frozen=True)
class CandidateRow:
    """One candidate with everything that was found out about it."""

    label: str
    status: str
    reason: str
    cells: tuple[tuple[str, str], ...]


def summary_row(agent: AgentReport) -> SummaryRow:
    """The agent before and after, and its verdict."""
    before, after = agent.original, after_figures(agent)
    best = next((row for row in agent.candidates if row.status == "chosen"), None)
    engine = agent.shipped or (best if agent.status == "measured" else None)
    return SummaryRow(
        name=agent.name,
        status=agent.status,
        verdict=verdict(agent),
        engine=NOTHING if engine is None else f"{engine.engine} {engine.precision}",
        p50=(_cell(before, _p50), _cell(after, _p50)),
        p99=(_cell(before, _p99), _cell(after, _p99)),
        memory=(_cell(before, _memory), _cell(after, _memory)),
        speedup=NOTHING if agent.speedup is None else factor(agent.speedup),
        interval="" if agent.speedup is None else interval(agent.speedup),
    )


def after_figures(agent: AgentReport) -> Figures | None:
    """The figures of what was shipped, or, after a benchmark, which ships nothing, of the fastest."""
    if agent.shipped is not None:
        return agent.shipped.figures
    chosen = [row.figures for row in agent.candidates if row.status == "chosen"]
    return chosen[0] if chosen and agent.status == "measured" else None


def figure_rows(agent: AgentReport) -> list[tuple[str, str, str]]:
    """Every figure before and after: name, before, after; rows of which nothing is known are left out."""
    before, after = agent.original, after_figures(agent)
    rows = [(name, _cell(before, cell), _cell(after, cell)) for name, cell in FIGURES]
    return [row for row in rows if row[1:] != (NOTHING, NOTHING)]


def candidate_rows(agent: AgentReport) -> list[CandidateRow]:
    """Every candidate of which something was found out, the fastest first (`unmeasured` has the others)."""
    ordered = sorted(
        (row for row in agent.candidates if not _is_unmeasured(row)),
        key=lambda row: row.figures.p50_us if row.figures is not None else float("inf"),
    )
    return [_candidate_row(candidate, verified(agent, candidate)) for candidate in ordered]


def unmeasured(agent: AgentReport) -> list[tuple[str, list[str]]]:
    """The candidates of which nothing was found out: each reason, and the labels that share it."""
    found: dict[str, list[str]] = {}
    for row in agent.candidates:
        if _is_unmeasured(row):
            found.setdefault(row.reason or "no reason is known", []).append(row.label)
    return list(found.items())


def _is_unmeasured(row: CandidateReport) -> bool:
    return row.status == "not measured" and row.figures is None


def error_rows(agent: AgentReport) -> list[tuple[str, str, str, str]]:
    """Every verified candidate: name, error and limit of its worst output, and how often it acts the same."""
    rows = []
    for candidate in agent.candidates:
        evidence = verified(agent, candidate)
        if evidence is not None:
            rows.append((candidate.label, *_error(evidence), _agreement(evidence)))
    return rows


def facts(agent: AgentReport) -> Iterator[tuple[str, str]]:
    """Where the agent came from, how large it is, what was asked for, and what was shipped."""
    if agent.source is not None:
        parts = (agent.source.format, agent.source.path, f"weights: {agent.source.weights}")
        yield "Source", ", ".join(part for part in parts if part)
    sizes = [
        None if agent.parameters is None else f"{agent.parameters:,} parameters",
        None if agent.weight_bytes is None else f"{size(agent.weight_bytes)} of weights",
        None if agent.flop is None else f"{rate(agent.flop)} FLOP a call",
    ]
    if any(sizes):
        yield "Network", ", ".join(text for text in sizes if text)
    used = [f"{item.place} ({item.kind})" for item in agent.statistics if item.used]
    if used:
        yield "Statistics folded in", ", ".join(used)
    for line in left_out(agent):
        yield "Statistics left out", line
    yield from _targets(agent)
    if agent.verification_reference is not None:
        yield "Verified against", f"the original in {agent.verification_reference}"
    if agent.evidence is not None:
        yield "Reduced precision judged on", evidence_words(agent.evidence)
    if agent.certified is not None:
        yield "Certified", certified_words(agent.certified)
    for name, text in limit_rows(agent):
        yield f"Machine's limit{name and f' at {name}'}", text
    if agent.shipped is not None and agent.shipped.artifact is not None:
        yield "Artifact", agent.shipped.artifact
    if agent.shipped is not None and agent.shipped.digest is not None:
        yield "Digest", agent.shipped.digest
    if (compared := like_with_like(agent)) is not None:
        yield "Speed-up", compared
    for lead in agent.leads:
        rival = f"{ratio(lead.ratio)} as fast as {lead.rival_label}, the fastest other"
        yield f"Lead of {lead.engine}", f"{lead.label}: {rival} ({_among(lead)})"
    if agent.stages:
        yield "Time spent", ", ".join(f"{name} {duration(s * 1e6)}" for name, s in agent.stages.items())


def machine_facts(report: Report) -> list[tuple[str, str]]:
    """The machine and the versions, as the run found them."""
    known = [(name.replace("_", " "), _words(value)) for name, value in report.environment.items()]
    return [(name, text) for name, text in known if text]


def mean_leads(report: Report) -> list[tuple[str, str]]:
    """What a benchmark found over all its agents: the geometric means of the leads, and their ranges."""
    rows = []
    for lead in report.leads:
        agents = "1 agent" if lead.agents == 1 else f"{lead.agents} agents"
        extent = f"from {lead.least:.2f}× to {lead.largest:.2f}×"
        rows.append((f"Lead of {lead.engine}", f"{lead.ratio:.2f}× over {agents}, {extent} ({_among(lead)})"))
    return rows


def command_line(report: Report) -> str:
    """The command that does the run again, as a POSIX shell reads it."""
    return shlex.join(report.command)


def _targets(agent: AgentReport) -> Iterator[tuple[str, str]]:
    targets = agent.targets
    wanted = [
        None if targets.latency_ms is None else f"p50 at most {duration(targets.latency_ms * 1e3)}",
        None if targets.throughput is None else f"at least {rate(targets.throughput)} calls/s",
        None if targets.memory_mb is None else f"at most {size(targets.memory_mb * 1e6)} of memory",
    ]
    if any(wanted):
        outcome = {True: "met", False: "missed: " + "; ".join(targets.misses), None: "not judged"}[
            targets.met
        ]
        yield "Targets", f"{', '.join(text for text in wanted if text)} ({outcome})"


def _candidate_row(candidate: CandidateReport, evidence: Verified | None) -> CandidateRow:
    error, limit = (NOTHING, NOTHING) if evidence is None else _error(evidence)
    figures = candidate.figures
    return CandidateRow(
        label=candidate.label,
        status=candidate.status,
        reason=candidate.reason or "",
        cells=(
            ("p50", _cell(figures, _p50)),
            ("p99", _cell(figures, _p99)),
            ("speed-up", NOTHING if candidate.speedup is None else ratio(candidate.speedup)),
            ("error of limit", NOTHING if error == NOTHING else f"{error} of {limit}"),
            ("same action", NOTHING if evidence is None else _agreement(evidence)),
            ("× machine's limit", _cell(figures, _limit)),
        ),
    )


def _error(evidence: Verified) -> tuple[str, str]:
    worst = evidence.worst
    if worst is None:
        return NOTHING, NOTHING
    return "not finite" if worst.error is None else f"{worst.error:.2g}", f"{worst.limit:.2g}"


def _agreement(evidence: Verified) -> str:
    return NOTHING if evidence.agreement is None else f"{evidence.agreement:.2%}"


def _among(lead: LeadReport | MeanLeadReport) -> str:
    kind = "builds at float32" if lead.precision == "float32" else "every build that was admitted"
    return f"{kind}, batch {lead.batch}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return " ".join(_words(item) for item in value)
    return "" if value is None else str(value)


def _cell(figures: Figures | None, cell: Callable[[Figures], str]) -> str:
    return NOTHING if figures is None else cell(figures)


def _p50(figures: Figures) -> str:
    return duration(figures.p50_us)


def _p99(figures: Figures) -> str:
    """Without the reason where it is not known: the columns of a summary are narrow."""
    return NOTHING if figures.p99_us is None else duration(figures.p99_us)


def _memory(figures: Figures) -> str:
    return NOTHING if figures.resident_mb is None else size(figures.resident_mb * 1e6)


def _limit(figures: Figures) -> str:
    if figures.limit_factor is None:
        return NOTHING
    number = f"{figures.limit_factor:,.0f}" if figures.limit_factor >= 100 else f"{figures.limit_factor:.3g}"
    return f"{number}×{' (below the limit)' if figures.below_limit else ''}"


def _time(field: str, microseconds: float) -> Callable[[Figures], str]:
    """Words for a duration that `field` holds in units of so many µs, or why it is not known."""

    def cell(figures: Figures) -> str:
        value: float | None = getattr(figures, field)
        if value is None:
            return figures.unavailable.get(field, NOTHING)
        return duration(value * microseconds)

    return cell


def _number(field: str, words: Callable[[float], str]) -> Callable[[Figures], str]:
    def cell(figures: Figures) -> str:
        value: float | None = getattr(figures, field)
        return NOTHING if value is None else words(value)

    return cell


FIGURES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("p50", _p50),
    ("p50 warm", _time("warm_us", 1.0)),
    ("p50 after other work", lambda figures: after_other_work(figures) or NOTHING),
    ("p90", _time("p90_us", 1.0)),
    ("p95", _time("p95_us", 1.0)),
    ("p99", _time("p99_us", 1.0)),
    ("p99.9", _time("p999_us", 1.0)),
    ("mean", _time("mean_us", 1.0)),
    ("calls a second", _number("qps", rate)),
    ("× machine's limit", _limit),
    ("core-seconds per million calls", _number("cpu_s_per_million", lambda value: f"{value:.3g}")),
    ("process start to first result", _time("process_ms", 1e3)),
    ("loading", _time("load_ms", 1e3)),
    ("first call", _time("first_call_ms", 1e3)),
    ("calls until steady", _number("calls_to_stable", lambda value: f"{value:,.0f}")),
    ("memory of a fresh process", _memory),
    ("size on disk", _number("artifact_bytes", size)),
    ("calls timed", _number("samples", lambda value: f"{value:,.0f}")),
    ("steady", lambda figures: {True: "yes", False: "no", None: NOTHING}[figures.stable]),
)
