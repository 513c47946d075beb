"""`benchmark`: the candidates and external engines of an agent beside its original; nothing is shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from grandopt.config.external_engines import EXTERNAL_ENGINES, WRITTEN, ExternalEngineName
from grandopt.config.schema import Job
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.limit import MachineLimit
from grandopt.reason import reason_fields
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report
from grandopt.workflows import records
from grandopt.workflows.benchmark.environments import environments
from grandopt.workflows.benchmark.external_engines import external_engines
from grandopt.workflows.benchmark.operators import operator_reports
from grandopt.workflows.benchmark.ranking import Competitor, Ranking, candidate, mean_leads
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
    waiting,
)
from grandopt.workflows.machine_limit import limit_of_run, tell_below_limit
from grandopt.workflows.open_agents import OpenedAgent, open_each
from grandopt.workflows.records import Summary
from grandopt.workflows.selection.build_stage import BuildStage, threads
from grandopt.workflows.selection.candidate_set import CandidateSet, prepare_candidates
from grandopt.workflows.selection.characterisation import side_by_side
from grandopt.workflows.selection.final_decision import decide
from grandopt.workflows.selection.recipe import recipe
from grandopt.workflows.selection.rows import limit_of, measured_figures
from grandopt.workflows.workload import work


@dataclass(frozen=True)
class Benchmark:
    """What to measure beside the candidates of a job.

    `batches` are batch sizes above 1, each measured in full. `into` calls everything through `run_into`.
    `operators` adds where the time of the original and of the fastest candidate goes. `external_engines` take
    part, and `pythons` names the interpreters of those that need an environment of their own.
    """

    batches: tuple[int, ...] = ()
    into: bool = False
    operators: bool = False
    external_engines: tuple[ExternalEngineName, ...] = EXTERNAL_ENGINES
    pythons: Mapping[str, Path] | None = None


def benchmark_job(
    job: Job,
    wanted: Benchmark | None = None,
    *,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Build, verify and measure all candidates and external engines of every agent of a job, in full.

    Built candidates are kept in the store under `.grandopt`, so that a second run builds nothing; no artifact
    and no report is written, but the history gets a record. Raises an InputError for an agent that cannot be
    opened or an interpreter that cannot be used, before any work.
    """
    asked = wanted or Benchmark()
    opened, refused = open_each(job, samples)
    summary = Summary("benchmark", job, command, now)
    done = refusals(job, refused, listener)
    with (
        kept_when_stopped(
            lambda: summary.report(done, waiting(job, opened[len(done) - len(refused) :]), "partial"),
            lambda unfinished: remember(job, unfinished, listener),
        ),
        environments(asked.external_engines, asked.pythons or {}) as others,
        running(job, job.output / STATE / "store", listener, summary.command) as run,
    ):
        limit = limit_of_run(run)
        work = partial(benchmark_agent, wanted=asked, interpreters=others, limit=limit)
        done.extend(attempts(run, opened, work))
    report = summary.report(done, [], "complete").model_copy(update={"leads": mean_leads(done)})
    remember(job, report, listener)
    return report


def benchmark_agent(
    run: Run,
    opened: OpenedAgent,
    wanted: Benchmark,
    interpreters: Mapping[str, Interpreter],
    limit: MachineLimit,
) -> AgentReport:
    """One agent's table: all that verification admitted is measured beside the original, all at once.

    With `--threads auto` everything is measured at the machine's most threads.
    """
    stages, name, count = Stages(), opened.name, threads(run)[-1]
    candidate_set = prepare_candidates(run, opened, stages)
    with stages.step("build"):
        BuildStage(run, candidate_set, run.job.profile.budget_s, [count]).build_all()
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        with stages.step("rivals"):
            others = external_engines(
                run,
                candidate_set,
                Path(folder),
                names=_names(run, wanted),
                interpreters=interpreters,
                threads=count,
                batches=wanted.batches,
            )
            competitors = (*(candidate(candidate_set, built) for built in candidate_set.builds()), *others)
        with stages.step("measure"):
            ranking = _measured(run, candidate_set, competitors, wanted, limit, count)
    builds = [item.built for item in competitors if item.built is not None]
    ready = [built for built in builds if built.label in ranking.labels]
    decision = decide(ranking.single, ready)
    with stages.step("operators"):
        profiles = operator_reports(run, candidate_set, decision.winner) if wanted.operators else ()
    report = AgentReport(
        name=name,
        status="measured",
        **reason_fields(decision.reason),
        targets=records.targets(opened.config, run.job.profile, None),
        original=measured_figures(
            run,
            candidate_set,
            ranking.single,
            candidate_set.original,
            limit_of(ranking.work, limit, count),
        ),
        original_behind=ranking.behind(ORIGINAL),
        original_batches=ranking.batches(ORIGINAL),
        speedup=None if decision.ratio is None else records.ratio(decision.ratio),
        candidates=ranking.rows(),
        leads=ranking.leads(),
        operators=profiles,
        verification_reference=candidate_set.oracle.reference_precision,
        evidence=records.evidence_report(candidate_set.oracle),
        stages=stages.seconds,
        recipe=recipe(run, opened),
        statistics=records.statistics(opened.checkpoint),
        **records.subject(candidate_set.program, ranking.work, limit),
    )
    tell_below_limit(run, report)
    return report


def _measured(
    run: Run,
    candidate_set: CandidateSet,
    competitors: tuple[Competitor, ...],
    wanted: Benchmark,
    limit: MachineLimit,
    count: int,
) -> Ranking:
    settings = replace(run.release(count), into=wanted.into)
    subjects = [item.subject for item in competitors if item.verified and item.subject is not None]
    single, broken = side_by_side(run, candidate_set, subjects, settings)
    measurements = {1: single}
    left = [subject for subject in subjects if subject.label not in broken]
    for batch in wanted.batches:
        measurements[batch], _ = side_by_side(run, candidate_set, left, replace(settings, batch=batch))
    amount = work(candidate_set.program).left_by(candidate_set.builds())
    return Ranking(competitors, measurements, broken, limit, amount)


def _names(run: Run, wanted: Benchmark) -> tuple[ExternalEngineName, ...]:
    """Those that have a part in the job's precisions: most compute in float32 alone."""
    precisions = run.job.profile.precisions
    return tuple(
        name
        for name in wanted.external_engines
        if any(precision in precisions for precision in WRITTEN.get(name, ("float32",)))
    )
