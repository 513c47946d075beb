"""What became of each candidate, as rows of the report."""

from __future__ import annotations

from collections.abc import Callable

from grandopt.measurement.limit import AgentLimit, MachineLimit
from grandopt.measurement.result import Measurement
from grandopt.measurement.warmth import Warmth
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.figures import Figures
from grandopt.reporting.report import CandidateReport, CandidateStatus
from grandopt.tuning.result import Stop, Trial, TuningResult
from grandopt.workflows import records
from grandopt.workflows.building.built import BUDGET_USED, NOT_BUILT, ORIGINAL, BuiltCandidate
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.characterisation import cold_figures
from grandopt.workflows.selection.final_decision import Decision
from grandopt.workflows.workload import Workload

LimitOf = Callable[[BuiltCandidate], AgentLimit]
"""The machine's limit for a candidate: that of its precision, on its threads."""

INFEASIBLE: dict[ReasonCode, CandidateStatus] = {
    ReasonCode.ENGINE_MISSING: "unavailable",
    ReasonCode.NOT_BUILT_IN_TIME: "not measured",
    ReasonCode.NOT_EXERCISED: "refused",
    ReasonCode.CALL_FAILED: "refused",
    ReasonCode.OTHER_OUTPUTS: "refused",
    ReasonCode.ERROR_TOO_LARGE: "refused",
    ReasonCode.ACTS_DIFFERENTLY: "refused",
    ReasonCode.TOO_FEW_SAMPLES: "refused",
}
"""The status of a candidate whose trial was infeasible, by its code; any other is a failure."""

UNMEASURED: dict[Stop, Reason] = {
    "budget": Reason(ReasonCode.NOT_MEASURED_IN_TIME, BUDGET_USED, "--budget SECONDS"),
    "trials": Reason(ReasonCode.TRIALS_USED_UP, "the study had all its trials", "--trials N"),
    "exhausted": Reason(ReasonCode.NOT_MEASURED, "it was not ready when the search began"),
}
"""Why a verified candidate has no trial, by what ended the search."""


def candidate_rows(
    candidate_set: CandidateSet,
    found: TuningResult,
    measurement: Measurement,
    decision: Decision,
    limit: LimitOf | None = None,
) -> tuple[CandidateReport, ...]:
    """A row for every candidate that there was, tried or not, by label and threads.

    Figures are those of the final measurement, with their distance to the machine's limit for the candidate
    where that is given; what did not come that far has its reason.
    """
    # Of several batch sizes the best trial stands for the candidate, so the worst come first.
    ranked = sorted(found.trials, key=lambda trial: -(trial.score or 0.0))
    tried = {(trial.choice.candidate, trial.choice.threads): trial for trial in ranked}
    entered = {(built.candidate.label, built.threads): built for built in candidate_set.builds()}
    seen = {label for label, _ in (*tried, *entered)}
    untried = {(label, 1) for label in candidate_set.candidates if label not in seen}
    measured = {subject.label for subject in measurement.subjects}
    undecided = decision.winner is None and decision.reason is None  # a search alone: its best is chosen
    rows = []
    for place in sorted({*tried, *entered, *untried}):
        label, threads = place
        built = entered.get(place)
        if built is None:  # an earlier run verified it if it tried it, and this one did not come to it
            candidate = candidate_set.candidates[label]
            built = (
                BuiltCandidate(candidate, threads, "verified")
                if place in tried
                else BuiltCandidate(candidate, threads, "not measured", NOT_BUILT)
            )
        if built.label in measured and built.status == "verified":
            rows.append(_measured(built, measurement, decision, limit))
        else:
            best = found.best if undecided else None
            rows.append(_searched(built, tried.get(place), best, UNMEASURED[found.stopped_by]))
    return tuple(rows)


def limit_of(amount: Workload, machine: MachineLimit, threads: int) -> LimitOf:
    """The limits of an agent's candidates where calls are made on so many threads: a build has its own
    number, the original takes what it is given."""

    def limit(built: BuiltCandidate) -> AgentLimit:
        used = threads if built.is_original else built.threads
        return amount.limit(machine, built.candidate.precision, used)

    return limit


def _measured(
    built: BuiltCandidate, measurement: Measurement, decision: Decision, limit: LimitOf | None
) -> CandidateReport:
    speedup = measurement.ratio(ORIGINAL, built.label)
    chosen = decision.winner is not None and decision.winner.label == built.label
    least = None if limit is None else limit(built)
    return records.candidate(
        built,
        status="chosen" if chosen else "slower",
        figures=records.figures(measurement, built.label, limit=least, base=ORIGINAL),
        speedup=records.ratio(speedup),
        reason=None if chosen else _behind(measurement, decision, built),
    )


def _behind(measurement: Measurement, decision: Decision, built: BuiltCandidate) -> Reason:
    fastest = ORIGINAL if decision.winner is None else decision.winner.label
    ratio = measurement.ratio(built.label, fastest)
    words = f"{fastest} is {ratio.value:.2f}× as fast ({ratio.low:.2f} to {ratio.high:.2f})"
    return Reason(ReasonCode.SLOWER, words)


def _searched(
    built: BuiltCandidate, trial: Trial | None, best: Trial | None, unmeasured: Reason
) -> CandidateReport:
    if built.status != "verified":
        return records.candidate(built, status=built.status, reason=built.reason)
    if trial is None:
        return records.candidate(built, status="not measured", reason=unmeasured)
    match trial.state:
        case "infeasible":
            reason = trial.reason or Reason(ReasonCode.UNKNOWN, "failed")
            return records.candidate(built, status=INFEASIBLE.get(reason.code, "failed"), reason=reason)
        case "pruned":
            behind = Reason(ReasonCode.CLEARLY_BEHIND, _short(trial))
            return records.candidate(built, status="pruned", reason=behind)
        case "complete":
            if best is not None and trial.number == best.number:
                return records.candidate(built, status="chosen", words=_short(trial))
            slower = Reason(ReasonCode.SLOWER, _short(trial))
            return records.candidate(built, status="slower", reason=slower)


def _short(trial: Trial) -> str:
    if trial.figures is None:
        return "not in the final"
    return f"p50 {trial.figures.latency_us:.4g} µs in the short measurement of trial {trial.number}"


def measured_figures(
    run: Run,
    candidate_set: CandidateSet,
    measurement: Measurement,
    built: BuiltCandidate,
    limit: LimitOf,
    warmth: Warmth | None = None,
    *,
    started: bool = True,
) -> Figures:
    """All figures of a candidate, or of the original, with those of a fresh process unless it need not be
    `started`."""
    cold, moment = None, None
    if started:
        cold, moment = cold_figures(run, candidate_set, built, measurement.settings.threads)
    return records.figures(
        measurement,
        built.label,
        cold=cold,
        cold_measured=moment,
        limit=limit(built),
        base=ORIGINAL,
        warmth=warmth,
    )
