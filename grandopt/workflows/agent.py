"""One agent from its checkpoint to what is shipped. `optimize_agent` reads as the list of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from grandopt.measurement.limit import MachineLimit
from grandopt.measurement.result import Measurement
from grandopt.reporting.report import AgentReport, CurveReport, Shipped
from grandopt.tuning.result import TuningResult
from grandopt.workflows import records
from grandopt.workflows.agents import Opened
from grandopt.workflows.batches import batch_curves
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.decision import Decision, decide, is_slower
from grandopt.workflows.entry import Entry
from grandopt.workflows.rows import candidate_rows, measured_figures
from grandopt.workflows.run import Run, storage_url
from grandopt.workflows.search import Search, build_all, search
from grandopt.workflows.ship import ship
from grandopt.workflows.stages import Stages
from grandopt.workflows.work import Work, work

FINALISTS = 2
CLOSE = 1.15
"""Candidates within this factor of the fastest are too close to call in a short measurement."""
BUILD_SHARE = 0.5
SEARCH_SHARE = 0.75
"""Shares of an agent's time budget by the end of which building and searching stop."""


@dataclass(frozen=True)
class Kept:
    """What is written to `artifacts/<agent>`: a candidate, or for None the original as it came."""

    entry: Entry | None
    measurement: Measurement


def optimize_agent(run: Run, opened: Opened, limit: MachineLimit) -> AgentReport:
    """Do the whole job for one agent and ship the result.

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run or measured; what happens to a candidate is in the report instead.
    """
    stages, name = Stages(), opened.name
    with stages.step("capture"):
        run.tell(name, "capture", f"{opened.checkpoint.source.format} checkpoint")
        program = captured(opened.checkpoint, run.store, run.job.seed)
        _tell_refusals(run, program.name, [f"{item.stage}: {item.reason}" for item in program.refusals])
    with stages.step("reference"):
        run.tell(name, "reference", "the original in float64")
        contest = Contest(run, opened, program)
    with stages.step("build"):
        build_all(run, contest, BUILD_SHARE * run.job.profile.budget_s - stages.elapsed())
    with stages.step("search"):
        found = search(run, contest, _search(run, stages))
    with stages.step("measure"):
        finalists = _finalists(contest, found)
        run.tell(name, "measure", ", ".join([ORIGINAL, *(entry.label for entry in finalists)]))
        measurement = contest.measure(finalists, run.release(finalists[0].threads if finalists else 1))
        decision = _proven(contest, measurement, finalists)
    with stages.step("batches"):
        kept = _kept(run, contest, decision, measurement)
        curves = batch_curves(run, contest, _best_two(contest, kept, found))
    with stages.step("ship"):
        amount = work(program)
        report = _report(run, opened, contest, kept, decision, limit, amount, curves)
        rows = candidate_rows(contest, found, measurement, decision, amount.limit_us(limit))
    run.tell(name, "done", report.status if report.reason is None else f"{report.status}: {report.reason}")
    return report.model_copy(
        update={"candidates": rows, "curves": curves, "tuning": found.to_json(), "stages": stages.seconds}
    )


def _tell_refusals(run: Run, name: str, refusals: Sequence[str]) -> None:
    for line in refusals:
        run.tell(name, "capture", line, level="warning")


def _search(run: Run, stages: Stages) -> Search:
    profile = run.job.profile
    return Search(
        trials=profile.trials,
        budget_s=max(1.0, profile.budget_s * SEARCH_SHARE - stages.elapsed()),
        storage_url=storage_url(run.job),
        together=True,
    )


def _finalists(contest: Contest, found: TuningResult) -> list[Entry]:
    """The fastest candidates of the search, those too close to it included, all at its thread count.

    A trial of an earlier run is built again here (from the store) and verified again.
    """
    if found.best is None:
        return []
    threads, best = found.best.choice.threads, found.best.score or 0.0
    trials = [
        trial
        for trial in found.trials
        if trial.state == "complete"
        and trial.choice.threads == threads
        and (trial.score or 0) <= best * CLOSE
    ]
    trials.sort(key=lambda trial: trial.score or 0.0)
    entries = [contest.entry(trial.choice.candidate, threads) for trial in trials[:FINALISTS]]
    return [entry for entry in entries if entry.status == "verified"]


def _proven(contest: Contest, measurement: Measurement, finalists: Sequence[Entry]) -> Decision:
    """The decision, its winner verified once more in this very run."""
    left = list(finalists)
    while True:
        decision = decide(measurement, left)
        if decision.winner is None:
            return decision
        again = contest.verified_again(decision.winner)
        if again.status == "verified":
            return replace(decision, winner=again)
        left.remove(decision.winner)


def _kept(run: Run, contest: Contest, decision: Decision, measurement: Measurement) -> Kept:
    """The winner; without one the exported original if it is no slower, because it needs no one's code."""
    if decision.winner is not None:
        return Kept(decision.winner, measurement)
    plain = contest.plain()
    if plain.status != "verified":
        return Kept(None, measurement)
    if plain.label not in [subject.label for subject in measurement.subjects]:
        measurement = contest.measure([plain], run.release())
    slower = is_slower(measurement.ratio(ORIGINAL, plain.label))
    return Kept(None if slower else plain, measurement)


def _best_two(contest: Contest, kept: Kept, found: TuningResult) -> list[Entry | None]:
    """What is shipped (None is the original), and the fastest other candidate of the search."""
    label = ORIGINAL if kept.entry is None else kept.entry.label
    complete = [trial for trial in found.trials if trial.state == "complete"]
    for trial in sorted(complete, key=lambda trial: trial.score or 0.0):
        entry = contest.entry(trial.choice.candidate, trial.choice.threads)
        if entry.label != label and entry.status == "verified":
            return [kept.entry, entry]
    return [kept.entry]


def _report(
    run: Run,
    opened: Opened,
    contest: Contest,
    kept: Kept,
    decision: Decision,
    limit: MachineLimit,
    amount: Work,
    curves: tuple[CurveReport, ...],
) -> AgentReport:
    limit_us = amount.limit_us(limit)
    before = measured_figures(run, contest, kept.measurement, None, limit_us)
    after = (
        before
        if kept.entry is None
        else measured_figures(run, contest, kept.measurement, kept.entry, limit_us)
    )
    artifact = contest.original if kept.entry is None else contest.artifact(kept.entry)
    label = ORIGINAL if kept.entry is None else kept.entry.label
    speedup = None if kept.entry is None else records.ratio(kept.measurement.ratio(ORIGINAL, label))
    evidence: dict[str, Any] = {
        "figures": after.model_dump(mode="json"),
        "speedup": None if speedup is None else speedup.model_dump(mode="json"),
        "verification": None
        if kept.entry is None or kept.entry.verification is None
        else kept.entry.verification.to_json(),
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
        status="original kept" if decision.winner is None else "optimized",
        reason=decision.reason,
        targets=records.targets(opened.config, run.job.profile, after),
        original=before,
        shipped=shipped,
        speedup=speedup,
        verification_reference=contest.oracle.reference_precision,
        **records.subject(contest.program, amount),
    )
