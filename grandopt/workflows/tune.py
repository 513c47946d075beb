"""`tune`: only the search, in a study that several processes may share and that `optimize` goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from grandopt.config.schema import Goal, Job
from grandopt.errors import TuningError
from grandopt.measurement.settings import MeasurementSettings
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report
from grandopt.tuning.result import Trial
from grandopt.tuning.study.storage import check
from grandopt.workflows import records
from grandopt.workflows.building.built import ORIGINAL
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.job import (
    STATE,
    Run,
    Stages,
    attempts,
    kept_when_stopped,
    refusals,
    remember,
    running,
    storage_url,
    waiting,
)
from grandopt.workflows.open_agents import OpenedAgent, open_each
from grandopt.workflows.records import Summary
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.candidate_set import prepare_candidates
from grandopt.workflows.selection.final_decision import Decision
from grandopt.workflows.selection.recipe import recipe
from grandopt.workflows.selection.rows import candidate_rows
from grandopt.workflows.selection.search import Search, search
from grandopt.workflows.workload import work

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
    """What to search for."""

    goal: Goal = "latency"


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

    Raises an InputError for an agent that cannot be opened, and for a storage that cannot be used, before any
    work, and TuningError for a profile without trials.
    """
    if job.profile.trials == 0:
        raise TuningError(f"profile {job.profile.name!r} has no trials; give --trials N or another profile")
    if job.storage is not None:
        check(job.storage)
    opened, refused = open_each(job, samples)
    summary = Summary("tune", job, command, now)
    done = refusals(job, refused, listener)
    with (
        kept_when_stopped(
            lambda: summary.report(done, waiting(job, opened[len(done) - len(refused) :]), "partial"),
            lambda unfinished: remember(job, unfinished, listener),
        ),
        running(job, job.output / STATE / "store", listener, summary.command) as run,
    ):
        done.extend(attempts(run, opened, partial(tune_agent, wish=wish)))
    report = summary.report(done, [], "complete")
    remember(job, report, listener)
    return report


def tune_agent(run: Run, opened: OpenedAgent, wish: Wish) -> AgentReport:
    """One agent's study, and how its best choice was built and verified."""
    stages, name = Stages(), opened.name
    candidate_set = prepare_candidates(run, opened, stages)
    with stages.step("build"):
        builds = BuildStage(run, candidate_set, BUILD_SHARE * run.job.profile.budget_s - stages.elapsed())
        builds.build_all(skip_outpaced=wish.goal == "latency")
    with stages.step("search"):
        wanted = Search(
            goal=wish.goal,
            trials=run.job.profile.trials,
            budget_s=max(1.0, run.job.profile.budget_s - stages.elapsed()),
            storage_url=storage_url(run.job),
            batches=BATCHES[wish.goal],
        )
        found = search(run, candidate_set, wanted)
    with stages.step("measure"):
        before = candidate_set.measure([], MeasurementSettings.quick(seed=run.job.seed))
    return AgentReport(
        name=name,
        status="measured",
        **(reason_fields(NONE) if found.best is None else {"reason": _best(found.best)}),
        targets=records.targets(opened.config, run.job.profile, None),
        original=records.figures(before, ORIGINAL),
        candidates=candidate_rows(candidate_set, found, before, Decision(None, None, None)),
        verification_reference=candidate_set.oracle.reference_precision,
        evidence=records.evidence_report(candidate_set.oracle),
        tuning=found.to_json(),
        stages=stages.seconds,
        continued=candidate_set.continued,
        recipe=recipe(run, opened),
        statistics=records.statistics(opened.checkpoint),
        **records.subject(candidate_set.program, work(candidate_set.program).left_by(candidate_set.builds())),
    )


NONE = Reason(ReasonCode.NONE_USABLE, "no candidate could be used")


def _best(trial: Trial) -> str:
    """The best choice in words."""
    choice, figures = trial.choice, trial.figures
    words = f"best: {choice.candidate}, {choice.threads} thread(s), batch {choice.batch}"
    if figures is None:
        return words
    return f"{words}: p50 {figures.latency_us:.4g} µs a call, {figures.throughput:.4g} observations/s"
