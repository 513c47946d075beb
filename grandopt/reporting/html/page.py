"""The page: one file that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from grandopt.errors import OutputError, ReportError
from grandopt.reporting import view
from grandopt.reporting.atomic_write import write_text_atomically
from grandopt.reporting.evidence import tuning
from grandopt.reporting.history.records import Record, agent_record, run_record
from grandopt.reporting.history.series import all_series, series_key
from grandopt.reporting.html.drawing import Drawings
from grandopt.reporting.html.panels import overview, panels
from grandopt.reporting.log import one_line
from grandopt.reporting.recommendations.words import advice_text, in_short
from grandopt.reporting.report import Report, load_report
from grandopt.reporting.units import duration
from grandopt.reporting.verdict import counts


def render(report: Report, history: Sequence[Record] = ()) -> str:
    """The page of a report, with its agents over time as far as `history` holds runs of the same kind, on the
    same machine, with as many threads. Raises ReportError for evidence in it that cannot be read."""
    environment = Environment(
        loader=PackageLoader("grandopt.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    drawings = Drawings()
    frame = run_record(report)
    series = {item.key: item for item in all_series(history)}
    agents = [
        {
            "record": agent,
            "summary": view.summary_row(agent),
            "facts": list(view.facts(agent)),
            "figures": view.figure_rows(agent),
            "panels": panels(drawings, agent, series.get(series_key(frame, agent_record(agent)))),
            "advice": [advice_text(item) for item in agent.recommendations],
            "candidates": view.candidate_rows(agent),
            "unmeasured": view.unmeasured(agent),
            "tuning": tuning(agent),
        }
        for agent in report.agents
    ]
    return environment.get_template("report.html.j2").render(
        report=report,
        counts=counts(report.agents),
        duration=duration(report.duration_s * 1e6),
        overview=overview(drawings, report),
        agents=agents,
        advice=in_short(report),
        leads=view.mean_leads(report),
        machine=view.machine_facts(report),
        command=view.command_line(report),
    )


def write_page(source: Path, target: Path, history: Sequence[Record] = ()) -> None:
    """Write the page of the report in `source` to `target`, whole or not at all; see `render` on `history`.

    Raises ReportError, naming `source`, for a report that cannot be read or shown, and OutputError for a
    place that cannot be written, or that is the report itself.
    """
    report = load_report(source)
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the report itself; choose another file with --output")
    try:
        text = render(report, history)
    except ReportError as error:
        raise ReportError(f"{source}: {error}") from error
    write_text_atomically(target, text)
