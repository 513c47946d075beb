"""`tune`: only the search, in a study that several processes may share and that `optimize` goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from grandopt.config.schema import Goal, Job
from grandopt.errors import TuningError
from grandopt.measurement.settings import Settings
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report
from grandopt.tuning.result import Trial
from grandopt.workflows import records
from grandopt.workflows.agents import Opened, open_agents
from grandopt.workflows.attempt import attempts
from grandopt.workflows.contest import ORIGINAL
from grandopt.workflows.decision import Decision
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.prepared import prepared
from grandopt.workflows.recipe import recipe
from grandopt.workflows.remember import remember
from grandopt.workflows.rows import candidate_rows
from grandopt.workflows.run import STATE, Run, running, storage_url
from grandopt.workflows.search import Search, build_all, search
from grandopt.workflows.stages import Stages
from grandopt.workflows.summary import Summary
from grandopt.workflows.work import work

BATCHES: dict[Goal, tuple[int, ...]] = {
    "latency": (1,),
    "throughput": (1, 8, 32, 128),
    "memory": (1,),
    "balanced": (1, 8, 32, 128),
}
"""Batch sizes worth trying for a goal: latency is that of the next decision, so it is taken at batch 1."""

BUILD_SHARE = 0.5
"""Share of an agent's time budget by the end of which building stops."""


@dataclass(frozen=True)
class Wish:
    """What to search for, and where the trials are kept: an Optuna storage URL, or None for the job's own."""

    goal: Goal = "latency"
    storage: str | None = None


def tune_job(
    job: Job,
    wish: Wish,
    *,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Search the best choice for every agent of a job. Ships nothing; the trials stay in the storage.

    Raises an InputError for an agent that cannot be opened, before any work, and TuningError for a profile
    without trials.
    """
    if job.profile.trials == 0:
        raise TuningError(f"profile {job.profile.name!r} has no trials; give --trials N or another profile")
    opened = open_agents(job, samples)
    summary = Summary("tune", job, command, now)
    with running(job, job.output / STATE / "store", listener, summary.command) as run:
        done = list(attempts(run, opened, partial(tune_agent, wish=wish)))
    report = summary.report(done, [], "complete")
    remember(job, report, listener)
    return report


def tune_agent(run: Run, opened: Opened, wish: Wish) -> AgentReport:
    """One agent's study, and how its best choice was built and verified."""
    stages, name = Stages(), opened.name
    contest = prepared(run, opened, stages)
    with stages.step("build"):
        build_all(run, contest, BUILD_SHARE * run.job.profile.budget_s - stages.elapsed())
    with stages.step("search"):
        wanted = Search(
            goal=wish.goal,
            trials=run.job.profile.trials,
            budget_s=max(1.0, run.job.profile.budget_s - stages.elapsed()),
            storage_url=wish.storage or storage_url(run.job),
            batches=BATCHES[wish.goal],
        )
        found = search(run, contest, wanted)
    with stages.step("measure"):
        before = contest.measure([], Settings.quick(seed=run.job.seed))
    return AgentReport(
        name=name,
        status="measured",
        reason=_best(found.best) if found.best is not None else "no candidate could be used",
        targets=records.targets(opened.config, run.job.profile, None),
        original=records.figures(before, ORIGINAL),
        candidates=candidate_rows(contest, found, before, Decision(None, None, None)),
        verification_reference=contest.oracle.reference_precision,
        tuning=found.to_json(),
        stages=stages.seconds,
        recipe=recipe(run, opened),
        **records.subject(contest.program, work(contest.program)),
    )


def _best(trial: Trial) -> str:
    """The best choice in words."""
    choice, figures = trial.choice, trial.figures
    words = f"best: {choice.candidate}, {choice.threads} thread(s), batch {choice.batch}"
    if figures is None:
        return words
    return f"{words}: p50 {figures.latency_us:.4g} µs a call, {figures.throughput:.4g} observations/s"
