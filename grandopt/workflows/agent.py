"""One agent from its checkpoint to what is shipped. `optimize_agent` reads as the list of steps."""

from __future__ import annotations

from typing import Any

from grandopt.measurement.limit import MachineLimit
from grandopt.reporting.recipe import RECIPE
from grandopt.reporting.report import AgentReport, CurveReport, Shipped
from grandopt.tuning.result import TuningResult
from grandopt.workflows import records
from grandopt.workflows.agents import Opened
from grandopt.workflows.batches import batch_curves
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.entry import Entry
from grandopt.workflows.final import Final, final, ranked
from grandopt.workflows.prepared import prepared
from grandopt.workflows.recipe import build_recipe, recipe
from grandopt.workflows.rows import candidate_rows, measured_figures
from grandopt.workflows.run import Run, storage_url
from grandopt.workflows.search import Search, build_all, search
from grandopt.workflows.ship import ship
from grandopt.workflows.stages import Stages
from grandopt.workflows.work import Work, work

BUILD_SHARE = 0.65
SEARCH_SHARE = 0.85
"""Shares of an agent's time budget by the end of which building and searching stop."""


def optimize_agent(run: Run, opened: Opened, limit: MachineLimit) -> AgentReport:
    """Do the whole job for one agent and ship the result.

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run or measured; what happens to a candidate is in the report instead.
    """
    stages, name = Stages(), opened.name
    contest = prepared(run, opened, stages)
    with stages.step("build"):
        build_all(run, contest, BUILD_SHARE * run.job.profile.budget_s - stages.elapsed())
    with stages.step("search"):
        found = search(run, contest, _search(run, stages))
    with stages.step("measure"):
        outcome = final(run, contest, found)
    with stages.step("batches"):
        curves = batch_curves(run, contest, _best_two(contest, outcome, found))
    with stages.step("ship"):
        amount = work(contest.program)
        report = _report(run, opened, contest, outcome, limit, amount, curves)
        rows = candidate_rows(contest, found, outcome.measurement, outcome.decision, amount.limit_us(limit))
    run.tell(name, "done", report.status if report.reason is None else f"{report.status}: {report.reason}")
    return report.model_copy(
        update={"candidates": rows, "curves": curves, "tuning": found.to_json(), "stages": stages.seconds}
    )


def _search(run: Run, stages: Stages) -> Search:
    profile = run.job.profile
    return Search(
        trials=profile.trials,
        budget_s=max(1.0, profile.budget_s * SEARCH_SHARE - stages.elapsed()),
        storage_url=storage_url(run.job),
        together=True,
    )


def _best_two(contest: Contest, outcome: Final, found: TuningResult) -> list[Entry | None]:
    """What is shipped (None is the original), and the fastest other candidate of the search."""
    label = ORIGINAL if outcome.kept is None else outcome.kept.label
    for trial in ranked(found):
        if trial.state == "complete":
            entry = contest.entry(trial.choice.candidate, trial.choice.threads)
            if entry.label != label and entry.status == "verified":
                return [outcome.kept, entry]
    return [outcome.kept]


def _report(
    run: Run,
    opened: Opened,
    contest: Contest,
    outcome: Final,
    limit: MachineLimit,
    amount: Work,
    curves: tuple[CurveReport, ...],
) -> AgentReport:
    limit_us = amount.limit_us(limit)
    before = measured_figures(run, contest, outcome.measurement, None, limit_us)
    after = (
        before
        if outcome.kept is None
        else measured_figures(run, contest, outcome.measurement, outcome.kept, limit_us)
    )
    artifact = contest.original if outcome.kept is None else contest.artifact(outcome.kept)
    label = ORIGINAL if outcome.kept is None else outcome.kept.label
    speedup = None if outcome.kept is None else records.ratio(outcome.measurement.ratio(ORIGINAL, label))
    written_down = recipe(run, opened, build_recipe(contest, outcome.kept, artifact))
    evidence: dict[str, Any] = {
        "figures": after.model_dump(mode="json"),
        "speedup": None if speedup is None else speedup.model_dump(mode="json"),
        "verification": None
        if outcome.kept is None or outcome.kept.verification is None
        else outcome.kept.verification.to_json(),
        RECIPE: written_down.model_dump(mode="json"),
        "batches": next((item.model_dump(mode="json") for item in curves if item.label == label), None),
    }
    place = f"artifacts/{opened.name}"
    written = ship(artifact, run.job.output / place, opened.name, evidence)
    shipped = Shipped(
        engine=written.manifest.engine,
        precision=written.manifest.precision,
        label=label,
        options=written.manifest.options,
        threads=written.manifest.threads,
        artifact=place,
        digest=written.manifest.digest,
        figures=after,
    )
    return AgentReport(
        name=opened.name,
        status="original kept" if outcome.decision.winner is None else "optimized",
        reason=outcome.decision.reason,
        targets=records.targets(opened.config, run.job.profile, after),
        original=before,
        shipped=shipped,
        speedup=speedup,
        verification_reference=contest.oracle.reference_precision,
        recipe=written_down,
        **records.subject(contest.program, amount),
    )
