"""`optimize`: every agent of a job, from checkpoint to proven artifact; its report is whole at any moment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grandopt.artifacts.artifact import Artifact, check_replaceable, write
from grandopt.config.schema import Job
from grandopt.errors import OutputError
from grandopt.measurement.limit import MachineLimit
from grandopt.measurement.warmth import Warmth
from grandopt.reason import reason_fields
from grandopt.reporting.log import RunLog, utc_now
from grandopt.reporting.recipe import RECIPE
from grandopt.reporting.report import AgentReport, CurveReport, Report, Shipped, write_report
from grandopt.tuning.result import TuningResult
from grandopt.tuning.study.storage import check
from grandopt.workflows import records
from grandopt.workflows.building.built import ORIGINAL, BuiltCandidate
from grandopt.workflows.events import Event, Listener, silent
from grandopt.workflows.exporting.program import NOT_CARRIED, to_carry
from grandopt.workflows.job import (
    STATE,
    Run,
    Stages,
    attempts,
    check_threads,
    kept_when_stopped,
    refusals,
    remember,
    running,
    storage_url,
    waiting,
)
from grandopt.workflows.machine_limit import limit_of_run, tell_below_limit
from grandopt.workflows.open_agents import OpenedAgent, RefusedAgent, open_each
from grandopt.workflows.records import Summary
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.candidate_set import CandidateSet, prepare_candidates
from grandopt.workflows.selection.certificate import certificate_of
from grandopt.workflows.selection.characterisation import batch_curves, warmth_figures
from grandopt.workflows.selection.final_decision import Final, final, ranked
from grandopt.workflows.selection.recipe import build_recipe, recipe
from grandopt.workflows.selection.rows import candidate_rows, limit_of, measured_figures
from grandopt.workflows.selection.search import Search, search
from grandopt.workflows.selection.short_list import build_told, share
from grandopt.workflows.usual import usual
from grandopt.workflows.workload import Workload, work

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

    All checkpoints are read before anything is written, and an InputError of any of them ends the job there,
    unless the job goes on without it. Later failures of one agent are recorded and the others go on. After
    each agent the report on disk is whole and says "partial"; KeyboardInterrupt leaves it so, with the agents
    not yet done as "not run".
    """
    check_threads(job.threads)
    opened, refused = open_each(job, samples)
    return optimize_opened(job, opened, refused, command=command, listener=listener, now=now)


def optimize_opened(
    job: Job,
    opened: Sequence[OpenedAgent],
    refused: Sequence[RefusedAgent] = (),
    *,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Like `optimize_job`, for agents that were opened before; those `refused` stand in the report, first.

    Raises ConfigError for more threads than the machine grants, OutputError where it cannot write, and
    StorageError for a storage that cannot be used.
    """
    check_threads(job.threads)
    if job.storage is not None:
        check(job.storage)
    _check_writable(job)
    summary = Summary("optimize", job, command, now)
    done: list[AgentReport] = []
    path = job.output / REPORT
    with RunLog(job.output / LOG, " ".join(summary.command) or "grandopt", now) as log:

        def tell(event: Event) -> None:
            log.write(event.level, event.agent, event.step, event.message)
            listener(event)

        def unfinished() -> Report:
            return summary.report(done, waiting(job, opened[len(done) - len(refused) :]), "partial")

        def keep(report: Report) -> None:
            write_report(report, path)
            remember(job, report, tell)

        done += refusals(job, refused, tell)
        with (
            kept_when_stopped(unfinished, keep),
            running(job, job.output / STATE / "store", tell, summary.command) as run,
        ):
            if opened:
                limit = limit_of_run(run)  # alone, before any other process of this run is there
                run.start_measuring()
                for report in attempts(run, opened, partial(optimize_agent, limit=limit)):
                    done.append(report)
                    write_report(unfinished(), path)
        complete = summary.report(done, [], "complete")
        keep(complete)
        return complete


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


BUILD_SHARE = 0.65
SEARCH_SHARE = 0.85
"""Shares of an agent's time budget by the end of which building and searching stop; what leads the builds has
all of it: a search without the likeliest winners finds little."""


def optimize_agent(run: Run, opened: OpenedAgent, limit: MachineLimit) -> AgentReport:
    """Do the whole job for one agent and ship the result.

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run or measured; what happens to a candidate is in the report instead.
    """
    stages, name = Stages(), opened.name
    candidate_set = prepare_candidates(run, opened, stages)
    amount, budget_s = work(candidate_set.program), run.job.profile.budget_s
    with stages.step("build"):
        builds = BuildStage(
            run,
            candidate_set,
            BUILD_SHARE * budget_s - stages.elapsed(),
            leading_s=budget_s - stages.elapsed(),
            # Asked for when native builds are there, which may have less to do than the original.
            limits=lambda precision, threads: amount.left_by(candidate_set.builds()).limit(
                limit, precision, threads
            ),
        )
        told = build_told(run, candidate_set, builds)
        if not told:
            builds.build_all(skip_outpaced=True)
    with stages.step("search"):
        found = search(run, candidate_set, _search(run, stages))
    with stages.step("measure"):
        outcome = final(run, candidate_set, found)
        builds.remember(outcome.decision.winner)
        if not told:
            share(run, candidate_set, found)
    with stages.step("batches"):
        curves = batch_curves(run, candidate_set, _best_two(candidate_set, outcome, found))
    with stages.step("warmth"):
        warm = _warmth(run, candidate_set, outcome)
    with stages.step("ship"):
        amount = amount.left_by(candidate_set.builds())
        report = _report(run, opened, candidate_set, outcome, limit, amount, curves, warm)
        rows = candidate_rows(
            candidate_set,
            found,
            outcome.measurement,
            outcome.decision,
            limit_of(amount, limit, outcome.measurement.settings.threads),
        )
    run.tell(name, "done", report.status if report.reason is None else f"{report.status}: {report.reason}")
    whole = report.model_copy(
        update={
            "candidates": rows,
            "curves": curves,
            "tuning": found.to_json(),
            "stages": stages.seconds,
            "continued": candidate_set.continued,
        }
    )
    tell_below_limit(run, whole)
    return whole


def _search(run: Run, stages: Stages) -> Search:
    profile = run.job.profile
    return Search(
        trials=profile.trials,
        budget_s=max(1.0, profile.budget_s * SEARCH_SHARE - stages.elapsed()),
        storage_url=storage_url(run.job),
        together=True,
    )


def _best_two(candidate_set: CandidateSet, outcome: Final, found: TuningResult) -> list[BuiltCandidate]:
    """What is shipped, and the fastest other candidate of the search."""
    for trial in ranked(found):
        if trial.state == "complete":
            built = candidate_set.build_one(trial.choice.candidate, trial.choice.threads)
            if built.label != outcome.kept.label and built.status == "verified":
                return [outcome.kept, built]
    return [outcome.kept]


def _warmth(run: Run, candidate_set: CandidateSet, outcome: Final) -> dict[str, Warmth]:
    """A call of the original and of what is shipped, warm and after other work."""
    original, kept = candidate_set.original, outcome.kept
    builds = [original] if kept.is_original else [original, kept]
    return warmth_figures(run, candidate_set, builds, outcome.measurement.settings.threads)


def _report(
    run: Run,
    opened: OpenedAgent,
    candidate_set: CandidateSet,
    outcome: Final,
    limit: MachineLimit,
    amount: Workload,
    curves: tuple[CurveReport, ...],
    warm: Mapping[str, Warmth],
) -> AgentReport:
    limits, kept = limit_of(amount, limit, outcome.measurement.settings.threads), outcome.kept
    before, after = (
        measured_figures(run, candidate_set, outcome.measurement, built, limits, warm.get(built.label))
        for built in (candidate_set.original, kept)
    )
    speedup = None if kept.is_original else records.ratio(outcome.measurement.ratio(ORIGINAL, kept.label))
    written_down = recipe(run, opened, build_recipe(candidate_set, kept))
    evidence: dict[str, Any] = {
        "figures": after.model_dump(mode="json"),
        "speedup": None if speedup is None else speedup.model_dump(mode="json"),
        "verification": None if kept.verification is None else kept.verification.to_json(),
        RECIPE: written_down.model_dump(mode="json"),
        "batches": next((item.model_dump(mode="json") for item in curves if item.label == kept.label), None),
    } | usual(opened, candidate_set.oracle, candidate_set.program)
    place, artifact = f"artifacts/{opened.name}", candidate_set.artifact(kept)
    carried, missing = to_carry(candidate_set.program, artifact.manifest)
    if missing is not None:
        evidence[NOT_CARRIED] = missing.text
    written = ship(artifact, run.job.output / place, opened.name, evidence, carried)
    shipped = Shipped(
        engine=written.manifest.engine,
        precision=written.manifest.precision,
        label=kept.label,
        options=written.manifest.options,
        threads=written.manifest.threads,
        artifact=place,
        digest=written.manifest.digest,
        figures=after,
    )
    return AgentReport(
        name=opened.name,
        status="original kept" if outcome.decision.winner is None else "optimized",
        **reason_fields(outcome.decision.reason),
        targets=records.targets(opened.config, run.job.profile, after),
        original=before,
        shipped=shipped,
        speedup=speedup,
        verification_reference=candidate_set.oracle.reference_precision,
        evidence=records.evidence_report(candidate_set.oracle),
        certified=certificate_of(run, candidate_set.build_inputs, kept, candidate_set.samples),
        recipe=written_down,
        statistics=records.statistics(opened.checkpoint),
        **records.subject(candidate_set.program, amount, limit),
    )


def ship(
    artifact: Artifact,
    folder: Path,
    name: str,
    evidence: dict[str, Any],
    carried: Mapping[str, bytes] = MappingProxyType({}),
) -> Artifact:
    """Write a copy of a stored artifact under the agent's name; replaces an older artifact there atomically.

    `carried` goes with it (see `exporting.program.to_carry`).
    Raises OutputError when the folder cannot be written, or holds something that is not an artifact.
    """
    manifest = replace(artifact.manifest, name=name, evidence=evidence)
    return write(folder, manifest, {**artifact.payloads(), **carried})
