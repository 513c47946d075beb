"""What the regression gate says to people, in words; the terminal, Markdown and JUnit all use these."""

from __future__ import annotations

from grandopt.reason import ReasonCode
from grandopt.reporting.gate.result import AgentGate, FigureReport, GateReport, Unit
from grandopt.reporting.units import duration, size

NOTHING = "–"
FIGURE_NAMES = {
    "p50": "p50 latency",
    "p99": "p99 latency",
    "memory": "memory",
    "size": "size on disk",
    "accuracy": "answers",
    "cold_start": "cold start",
    "instructions": "instructions",
}


def headline(report: GateReport) -> str:
    """The whole comparison in one line: "regression: 1 of 8 agents (gate); baseline → candidate"."""
    total = len(report.agents)
    named = [agent.name for agent in report.agents if agent.outcome == report.outcome]
    agents = f"{total} {'agent' if total == 1 else 'agents'}"
    if report.outcome == "pass":
        return f"pass: {agents}, no regression; {report.baseline} → {report.candidate}"
    counted = f"{len(named)} of {agents} ({', '.join(named)})"
    return f"{report.outcome}: {counted}; {report.baseline} → {report.candidate}"


def sentence(figure: FigureReport) -> str:
    """One figure in one line, as a failure says it.

    "p50 latency grew by 10.2 % (9.8 % to 10.6 %), limit 5 %"; "… inconclusive: …; about 12 more processes
    would settle it".
    """
    name = FIGURE_NAMES[figure.figure]
    if figure.change is None:
        return f"{name}: {figure.reason}"
    if figure.unit == "relative L2":
        text = f"{name} differ by {amount(figure.change)} (relative L2)"
    else:
        by = amount(abs(figure.change))
        text = (
            f"{name} {'grew' if figure.change >= 0 else 'fell'} by {by}"
            if by != "0.0 %"
            else f"{name} the same"
        )
        if figure.low is not None and figure.high is not None:
            text += f" ({percent(figure.low)} to {percent(figure.high)})"
    text += f", limit {limit(figure.limit)}"
    return "; ".join(part for part in (text, figure.reason, advice(figure)) if part)


def advice(figure: FigureReport) -> str | None:
    """What would settle an inconclusive figure, None for others."""
    if figure.outcome != "inconclusive" or figure.processes is None:
        return None
    if figure.more is None:
        if figure.reason_code is not ReasonCode.UNDECIDED:
            return None
        return "no number of processes would settle it: the change lies at the limit"
    return f"about {figure.more} more processes would settle it: --processes {figure.processes + figure.more}"


def cells(figure: FigureReport) -> tuple[str, str, str, str, str, str, str]:
    """The row of a table: figure, baseline, candidate, change, interval, limit, outcome.

    The outcome of an advisory figure stands in brackets.
    """
    interval = NOTHING
    if figure.low is not None and figure.high is not None:
        interval = f"{percent(figure.low)[:-2]} to {percent(figure.high)}"
    change = NOTHING if figure.change is None else percent(figure.change)
    outcome = f"({figure.outcome})" if figure.advisory else figure.outcome
    return (
        FIGURE_NAMES[figure.figure],
        value(figure.baseline, figure.unit),
        value(figure.candidate, figure.unit),
        change,
        interval,
        limit(figure.limit),
        outcome,
    )


def notes(agent: AgentGate) -> list[str]:
    """What has to be said below an agent's table: what is not a pass, and why."""
    return [sentence(figure) for figure in agent.figures if figure.outcome != "pass"]


def machine_noise(agent: AgentGate) -> str | None:
    """What an A/A comparison in the same processes found, where there was one: "A/A within 1.3 %"."""
    noise = next((figure.noise for figure in agent.figures if figure.noise is not None), None)
    return None if noise is None else f"A/A within {amount(noise)}"


def value(number: float | None, unit: Unit) -> str:
    """A figure with its unit."""
    if number is None:
        return NOTHING
    match unit:
        case "µs":
            return duration(number)
        case "ms":
            return duration(number * 1e3)
        case "MB":
            return size(number * 1e6)
        case "bytes":
            return size(number)
        case "instructions":
            return f"{number:,.0f}"
        case _:
            return f"{number:.3g}"


def percent(fraction: float) -> str:
    """A change with its sign: "+10.2 %", "-0.3 %"; "±0.0 %" where it rounds to nothing."""
    text = f"{fraction * 100:+.1f} %"
    return "±0.0 %" if text[1:] == "0.0 %" else text.replace("-", "−")


def amount(fraction: float) -> str:
    """A fraction without a sign: "10.2 %"."""
    return f"{fraction * 100:.1f} %"


def limit(fraction: float) -> str:
    """A limit as it was given: "5 %"."""
    return f"{fraction * 100:g} %"
