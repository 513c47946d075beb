"""What became of each candidate, as rows of the report."""

from __future__ import annotations

from grandopt.measurement.result import Measurement
from grandopt.reporting.figures import Figures
from grandopt.reporting.report import CandidateReport, CandidateStatus
from grandopt.tuning.result import Trial, TuningResult
from grandopt.workflows import records
from grandopt.workflows.cold import cold_figures
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.decision import Decision
from grandopt.workflows.entry import BUDGET_USED, Entry
from grandopt.workflows.run import Run

INFEASIBLE: dict[str, CandidateStatus] = {
    "refused": "refused",
    "failed": "failed",
    "unavailable": "unavailable",
}
"""The first word of an infeasible trial's reason, as `search.py` writes it."""


def candidate_rows(
    contest: Contest,
    found: TuningResult,
    measurement: Measurement,
    decision: Decision,
    limit_us: float | None = None,
) -> tuple[CandidateReport, ...]:
    """A row for every candidate that there was, tried or not, by label and threads.

    Figures are those of the final measurement, with their distance to the machine's limit for the agent where
    that is given; what did not come that far has its reason.
    """
    # Of several batch sizes the best trial stands for the candidate, so the worst come first.
    ranked = sorted(found.trials, key=lambda trial: -(trial.score or 0.0))
    tried = {(trial.choice.candidate, trial.choice.threads): trial for trial in ranked}
    entered = {(entry.candidate.label, entry.threads): entry for entry in contest.entries()}
    seen = {label for label, _ in (*tried, *entered)}
    untried = {(label, 1) for label in contest.candidates if label not in seen}
    measured = {subject.label for subject in measurement.subjects}
    undecided = decision.winner is None and decision.reason is None  # a search alone: its best is chosen
    rows = []
    for place in sorted({*tried, *entered, *untried}):
        label, threads = place
        entry = entered.get(place) or Entry(contest.candidates[label], threads, "verified")
        if entry.label in measured and entry.status == "verified":
            rows.append(_measured(entry, measurement, decision, limit_us))
        else:
            rows.append(_searched(entry, tried.get(place), found.best if undecided else None))
    return tuple(rows)


def _measured(
    entry: Entry, measurement: Measurement, decision: Decision, limit_us: float | None
) -> CandidateReport:
    speedup = measurement.ratio(ORIGINAL, entry.label)
    chosen = decision.winner is not None and decision.winner.label == entry.label
    return records.candidate(
        entry,
        status="chosen" if chosen else "slower",
        figures=records.figures(measurement, entry.label, limit_us=limit_us),
        speedup=records.ratio(speedup),
        reason=None if chosen else _behind(measurement, decision, entry),
    )


def _behind(measurement: Measurement, decision: Decision, entry: Entry) -> str:
    rival = ORIGINAL if decision.winner is None else decision.winner.label
    ratio = measurement.ratio(entry.label, rival)
    return f"{rival} is {ratio.value:.2f}× as fast ({ratio.low:.2f} to {ratio.high:.2f})"


def _searched(entry: Entry, trial: Trial | None, best: Trial | None) -> CandidateReport:
    if entry.status != "verified":
        return records.candidate(entry, status=entry.status, reason=entry.reason)
    if trial is None:
        return records.candidate(entry, status="not measured", reason=BUDGET_USED)
    match trial.state:
        case "infeasible":
            status, _, reason = (trial.reason or "failed").partition(": ")
            return records.candidate(entry, status=INFEASIBLE[status], reason=reason)
        case "pruned":
            return records.candidate(entry, status="pruned", reason=_short(trial))
        case "complete":
            best_of_all = best is not None and trial.number == best.number
            status = "chosen" if best_of_all else "slower"
            return records.candidate(entry, status=status, reason=_short(trial))


def _short(trial: Trial) -> str:
    if trial.figures is None:
        return "not in the final"
    return f"p50 {trial.figures.latency_us:.4g} µs in the short measurement of trial {trial.number}"


def measured_figures(
    run: Run,
    contest: Contest,
    measurement: Measurement,
    entry: Entry | None,
    limit_us: float,
) -> Figures:
    """All figures of a candidate, or for None of the original, with those of a fresh process."""
    label = ORIGINAL if entry is None else entry.label
    cold, moment = cold_figures(run, contest, entry, measurement.settings.threads)
    return records.figures(measurement, label, cold=cold, cold_measured=moment, limit_us=limit_us)
