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
from grandopt.tuning.study.storage import check
from grandopt.workflows import records
from grandopt.workflows.building.built import ORIGINAL
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
    waiting,
)
from grandopt.workflows.machine_limit import limit_of_run, tell_below_limit
from grandopt.workflows.open_agents import OpenedAgent, RefusedAgent, open_each
from grandopt.workflows.records import Summary
from grandopt.workflows.selection.candidate_set import CandidateSet, prepare_candidates
from grandopt.workflows.selection.certificate import certificate_of
from grandopt.workflows.selection.characterisation import batch_curves, warmth_figures
from grandopt.workflows.selection.final_decision import Final
from grandopt.workflows.selection.recipe import build_recipe, recipe
from grandopt.workflows.selection.rows import candidate_rows, limit_of, measured_figures
from grandopt.workflows.selection.selected import Selected, select
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


def optimize_agent(run: Run, opened: OpenedAgent, limit: MachineLimit) -> AgentReport:
    """Do the whole job for one agent and ship the result.

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run or measured; what happens to a candidate is in the report instead.
    """
    stages, name = Stages(), opened.name
    candidate_set = prepare_candidates(run, opened, stages)
    amount = work(candidate_set.program)
    selected = select(run, candidate_set, amount, limit, stages)
    found, outcome = selected.found, selected.outcome
    with stages.step("batches"):
        curves = batch_curves(run, candidate_set, selected.best_two(candidate_set))
    with stages.step("warmth"):
        warm = _warmth(run, candidate_set, outcome)
    with stages.step("ship"):
        amount = amount.left_by(candidate_set.builds())
        report = _report(run, opened, candidate_set, selected, limit, amount, curves, warm)
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


def _warmth(run: Run, candidate_set: CandidateSet, outcome: Final) -> dict[str, Warmth]:
    """A call of the original and of what is shipped, warm and after other work."""
    original, kept = candidate_set.original, outcome.kept
    builds = [original] if kept.is_original else [original, kept]
    return warmth_figures(run, candidate_set, builds, outcome.measurement.settings.threads)


def _report(
    run: Run,
    opened: OpenedAgent,
    candidate_set: CandidateSet,
    selected: Selected,
    limit: MachineLimit,
    amount: Workload,
    curves: tuple[CurveReport, ...],
    warm: Mapping[str, Warmth],
) -> AgentReport:
    outcome = selected.outcome
    limits, kept = limit_of(amount, limit, outcome.measurement.settings.threads), outcome.kept
    before, after = (
        measured_figures(
            run,
            candidate_set,
            outcome.measurement,
            built,
            limits,
            warm.get(built.label),
            started=built is kept or not selected.told,
        )
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
