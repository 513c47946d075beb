"""`benchmark`: every candidate of an agent beside its original in one run; nothing is shipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from grandopt.config.schema import Job
from grandopt.measurement.limit import MachineLimit, machine_limit
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report
from grandopt.tuning.result import TuningResult
from grandopt.workflows import records
from grandopt.workflows.agents import Opened, open_agents
from grandopt.workflows.attempt import attempts
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.decision import decide
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.rows import candidate_rows, measured_figures
from grandopt.workflows.run import STATE, Run, running
from grandopt.workflows.search import build_all, threads
from grandopt.workflows.stages import Stages
from grandopt.workflows.summary import Summary
from grandopt.workflows.work import work


def benchmark_job(
    job: Job,
    *,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Build, verify and measure every candidate of every agent of a job.

    Built candidates are kept in the store under `.grandopt`, so that a second run builds nothing; no artifact
    and no report is written. Raises an InputError for an agent that cannot be opened, before any work.
    """
    opened = open_agents(job, samples)
    summary = Summary("benchmark", job, command, now)
    with running(job, job.output / STATE / "store", listener) as run:
        limit = machine_limit()
        done = list(attempts(run, opened, partial(benchmark_agent, limit=limit)))
    return summary.report(done, [], "complete")


def benchmark_agent(run: Run, opened: Opened, limit: MachineLimit) -> AgentReport:
    """One agent's table. With `--threads auto` every candidate is measured at the machine's most threads."""
    stages, name = Stages(), opened.name
    with stages.step("capture"):
        run.tell(name, "capture", f"{opened.checkpoint.source.format} checkpoint")
        program = captured(opened.checkpoint, run.store, run.job.seed)
    with stages.step("reference"):
        run.tell(name, "reference", "the original in float64")
        contest = Contest(run, opened, program)
    count = threads(run)[-1]
    with stages.step("build"):
        build_all(run, contest, run.job.profile.budget_s, [count])
        ready = [entry for entry in contest.entries() if entry.status == "verified"]
    with stages.step("measure"):
        run.tell(name, "measure", f"the original and {len(ready)} candidates")
        measurement = contest.measure(ready, run.release(count))
        decision = decide(measurement, ready)
        amount = work(program)
        before = measured_figures(run, contest, measurement, None, limit, amount)
    untried = TuningResult((), None, "latency", "exhausted")
    shown = records.targets(opened.config, run.job.profile, None)
    return AgentReport(
        name=name,
        status="measured",
        reason=decision.reason,
        targets=shown,
        original=before,
        speedup=None if decision.ratio is None else records.ratio(decision.ratio),
        candidates=candidate_rows(contest, untried, measurement, decision),
        verification_reference=contest.oracle.reference_precision,
        stages=stages.seconds,
        **records.subject(program, amount),
    )
