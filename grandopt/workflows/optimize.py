"""`optimize`: every agent of a job, from checkpoint to proven artifact; its report is whole at any moment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from grandopt.artifacts.artifact import check_replaceable
from grandopt.config.schema import Job
from grandopt.errors import OutputError
from grandopt.measurement.limit import machine_limit
from grandopt.reporting.log import RunLog, utc_now
from grandopt.reporting.report import AgentReport, Report, write_report
from grandopt.workflows import records
from grandopt.workflows.agent import optimize_agent
from grandopt.workflows.agents import Opened, open_agents
from grandopt.workflows.attempt import attempts
from grandopt.workflows.events import Event, Listener, silent
from grandopt.workflows.remember import remember
from grandopt.workflows.run import STATE, running
from grandopt.workflows.summary import Summary

ARTIFACTS = Path("artifacts")
REPORT = Path("reports/optimization_report.json")
LOG = Path("reports/optimization.log")


def optimize_job(
    job: Job,
    *,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Optimize every agent of a job; returns the report that was written.

    All checkpoints are read before anything is written, and an InputError of any of them ends the job there.
    Later failures of one agent are recorded and the others go on. After each agent the report on disk is
    whole and says "partial"; KeyboardInterrupt leaves it so, with the agents not yet done as "not run".
    """
    return optimize_opened(job, open_agents(job, samples), command=command, listener=listener, now=now)


def optimize_opened(
    job: Job,
    opened: Sequence[Opened],
    *,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Like `optimize_job`, for agents that were opened before."""
    _check_writable(job)
    summary = Summary("optimize", job, command, now)
    done: list[AgentReport] = []
    path = job.output / REPORT
    with RunLog(job.output / LOG, " ".join(summary.command) or "grandopt", now) as log:

        def tell(event: Event) -> None:
            log.write(event.level, event.agent, event.step, event.message)
            listener(event)

        try:
            limit = machine_limit()  # alone, before any other process of this run is there
            with running(job, job.output / STATE / "store", tell, summary.command) as run:
                run.start_measuring()
                for report in attempts(run, opened, partial(optimize_agent, limit=limit)):
                    done.append(report)
                    write_report(summary.report(done, _waiting(job, opened[len(done) :]), "partial"), path)
        except BaseException:
            # Also for an interrupt or a bug of ours: what was done is worth keeping.
            partial_report = summary.report(done, _waiting(job, opened[len(done) :]), "partial")
            write_report(partial_report, path)
            remember(job, partial_report, tell)
            raise
        complete = summary.report(done, [], "complete")
        write_report(complete, path)
        remember(job, complete, tell)
        return complete


def _waiting(job: Job, opened: Sequence[Opened]) -> list[AgentReport]:
    reason = "the run was stopped before its turn"
    return [records.not_run(agent.name, reason, config=agent.config, profile=job.profile) for agent in opened]


def _check_writable(job: Job) -> None:
    """Raise OutputError now rather than after minutes of work."""
    for folder in (job.output / ARTIFACTS, job.output / REPORT.parent, job.output / STATE):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OutputError(
                f"{folder}: cannot be written ({reason}); choose another folder with --output"
            ) from error
    for name in job.agents:
        check_replaceable(job.output / ARTIFACTS / name)
