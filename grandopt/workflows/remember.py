"""The last step of every job: its report is added to the history, if that can be."""

from __future__ import annotations

from pathlib import Path

from grandopt.config.schema import Job
from grandopt.errors import HistoryError, ReportError
from grandopt.reporting.history.store import append
from grandopt.reporting.report import Report
from grandopt.workflows.events import Event, Listener

HISTORY = Path("reports/history.sqlite")
"""Beside the reports: unlike what lies under `.grandopt` it cannot be made again."""


def remember(job: Job, report: Report, listener: Listener) -> None:
    """Add a run to the history of the job's output folder.

    A history that cannot be used is one warning, and stays as it is: it is no reason for a run to fail. A run
    that came to no agent is not added.
    """
    if all(agent.status == "not run" for agent in report.agents):
        return
    try:
        append(job.output / HISTORY, report)
    except (HistoryError, ReportError) as error:
        listener(Event("warning", "", "history", f"this run is not in it: {error}"))
