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
from grandopt.workflows import records
from grandopt.workflows.agents import Opened, open_agents
from grandopt.workflows.attempt import attempts
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.decision import decide
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.operators import operator_reports
from grandopt.workflows.rows import candidate_rows, measured_figures
from grandopt.workflows.run import STATE, Run, running
from grandopt.workflows.search import Search, build_all, search, threads
from grandopt.workflows.stages import Stages
from grandopt.workflows.summary import Summary
from grandopt.workflows.work import work


def benchmark_job(
    job: Job,
    *,
    samples: Path | None = None,
    operators: bool = False,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Build, verify and measure every candidate of every agent of a job.

    Built candidates are kept in the store under `.grandopt`, so that a second run builds nothing; no artifact
    and no report is written. `operators` adds where the time of the original and of the fastest goes. Raises
    an InputError for an agent that cannot be opened, before any work.
    """
    opened = open_agents(job, samples)
    summary = Summary("benchmark", job, command, now)
    with running(job, job.output / STATE / "store", listener) as run:
        limit = machine_limit()
        done = list(attempts(run, opened, partial(benchmark_agent, limit=limit, operators=operators)))
    return summary.report(done, [], "complete")


def benchmark_agent(run: Run, opened: Opened, limit: MachineLimit, *, operators: bool = False) -> AgentReport:
    """One agent's table: what a first round leaves is measured beside the original, all at once.

    With `--threads auto` every candidate is measured at the machine's most threads.
    """
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
    with stages.step("search"):
        found = search(run, contest, Search(budget_s=run.job.profile.budget_s, together=True))
        ahead = {
            (trial.choice.candidate, trial.choice.threads)
            for trial in found.trials
            if trial.state == "complete"
        }
        ready = [entry for entry in contest.entries() if (entry.candidate.label, entry.threads) in ahead]
    with stages.step("measure"):
        run.tell(name, "measure", f"the original and {len(ready)} candidates")
        measurement = contest.measure(ready, run.release(count))
        decision = decide(measurement, ready)
        amount = work(program)
        limit_us = amount.limit_us(limit)
        before = measured_figures(run, contest, measurement, None, limit_us)
    with stages.step("operators"):
        profiles = operator_reports(run, contest, decision.winner) if operators else ()
    shown = records.targets(opened.config, run.job.profile, None)
    return AgentReport(
        name=name,
        status="measured",
        reason=decision.reason,
        targets=shown,
        original=before,
        speedup=None if decision.ratio is None else records.ratio(decision.ratio),
        candidates=candidate_rows(contest, found, measurement, decision, limit_us),
        operators=profiles,
        verification_reference=contest.oracle.reference_precision,
        stages=stages.seconds,
        **records.subject(program, amount),
    )
