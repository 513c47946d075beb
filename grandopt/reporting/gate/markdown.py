"""The gate's result as Markdown, for the summary page of a CI job or a comment on a change."""

from __future__ import annotations

import html
import re
from pathlib import Path

from grandopt.errors import OutputError
from grandopt.reporting.atomic_write import write_text_atomically
from grandopt.reporting.gate.result import AgentGate, GateReport
from grandopt.reporting.gate.view import cells, headline, machine_noise, notes
from grandopt.reporting.log import one_line

_SIGNS = {"pass": "✅", "regression": "❌", "inconclusive": "❔", "skipped": "➖"}
_HEAD = ("", "agent", "figure", "baseline", "candidate", "change", "interval", "limit")
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def markdown(report: GateReport) -> str:
    """One table over all agents, what is to be said about them, and how it was found."""
    lines = [f"### grandopt compare: {_SIGNS[report.outcome]} {_text(headline(report))}", ""]
    lines += [f"| {' | '.join(_HEAD)} |", "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for agent in report.agents:
        lines += _rows(agent)
    noises = [(agent.name, noise) for agent in report.agents if (noise := machine_noise(agent))]
    said = [f"- **{_text(agent.name)}**: {_text(note)}" for agent in report.agents for note in notes(agent)]
    if said:
        lines += ["", *said]
    if noises:
        lines += ["", "; ".join(f"{_text(name)}: {noise}" for name, noise in noises)]
    return "\n".join([*lines, "", f"<sub>{_text(_method(report))}</sub>", ""])


def write_markdown(report: GateReport, path: Path) -> None:
    """Write it whole; creates the folder. Raises OutputError when the place cannot be written."""
    write_text_atomically(path, markdown(report))


def append_markdown(report: GateReport, path: Path) -> None:
    """Append it to a file that others write to as well, such as the summary of a GitHub job."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown(report) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _rows(agent: AgentGate) -> list[str]:
    rows = []
    for figure in agent.figures:
        name, baseline, candidate, change, interval, limit, _ = cells(figure)
        label = f"{name} (advisory)" if figure.advisory else name
        words = (_text(agent.name), label, baseline, candidate, change, interval, limit)
        rows.append(f"| {_SIGNS[figure.outcome]} | {' | '.join(words)} |")
    return rows


def _method(report: GateReport) -> str:
    machine = report.environment.get("cpu_model") or "unknown processor"
    if report.mode == "reports":
        how = "figures of two reports"
    else:
        how = "both measured again, side by side over fresh processes"
    return f"{how}; {machine}; grandopt {report.grandopt}; {report.started}; {report.duration_s:.0f} s"


def _text(text: str) -> str:
    """Plain text: what Markdown or HTML would take for its own is escaped."""
    return _SPECIAL.sub(r"\\\1", html.escape(one_line(text), quote=False))
