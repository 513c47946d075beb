"""The final of a contest: what the search left is measured beside the original, and the winner is proven.

A finalist that cannot be measured, does not pass verification once more, or does not start in a fresh process
is dropped with its reason, and the next best takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grandopt.errors import MeasurementError
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import Settings
from grandopt.tuning.result import Trial, TuningResult
from grandopt.workflows.cold import cold_figures
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.decision import Decision, decide, is_slower
from grandopt.workflows.entry import Entry
from grandopt.workflows.run import Run

FINALISTS = 3
CLOSE = 1.15
"""Candidates within this factor of the fastest are too close to call in a short measurement."""


@dataclass(frozen=True)
class Final:
    """What the last measurement found, and what is kept: a candidate, or for None the original as it came."""

    measurement: Measurement
    decision: Decision
    kept: Entry | None


def final(run: Run, contest: Contest, found: TuningResult) -> Final:
    """Measure the finalists and decide. Raises MeasurementError when the original cannot be measured."""
    while True:
        entries = finalists(contest, found)
        run.tell(contest.program.name, "measure", ", ".join([ORIGINAL, *(entry.label for entry in entries)]))
        measurement = _measured(run, contest, entries)
        if measurement is None:
            continue
        decision = _proven(run, contest, measurement, entries)
        dropped = any(contest.entry(e.candidate.label, e.threads).status != "verified" for e in entries)
        if decision.winner is None and dropped:
            continue  # the next best may still be faster than the original
        if decision.winner is not None:
            return Final(measurement, decision, decision.winner)
        if not entries:
            decision = replace(decision, reason=_why_none(run, contest))
        return _original_kept(run, contest, measurement, decision)


def finalists(contest: Contest, found: TuningResult) -> list[Entry]:
    """The fastest usable candidate of the search and those too close to it, all at its thread count.

    One that lost the first look is the fastest where all that did not are unusable. A trial of an earlier
    run is built again here (from the store) and verified again.
    """
    chosen: list[Entry] = []
    leader: Trial | None = None
    for trial in ranked(found):
        if len(chosen) == FINALISTS:
            break
        if leader is not None and not _is_close(trial, leader):
            continue
        entry = contest.entry(trial.choice.candidate, trial.choice.threads)
        if entry.status == "verified":
            leader = leader or trial
            chosen.append(entry)
    return chosen


def ranked(found: TuningResult) -> list[Trial]:
    """The measured trials of a search, the fastest first; those that lost the first look come last."""
    measured = [trial for trial in found.trials if trial.state != "infeasible"]
    return sorted(measured, key=lambda trial: (trial.state == "pruned", _score(trial)))


def _is_close(trial: Trial, leader: Trial) -> bool:
    """Whether a trial may be as fast as the leader, at its thread count."""
    doubt = 0.0 if trial.figures is None else trial.figures.doubt
    return trial.choice.threads == leader.choice.threads and _score(trial) * (1 - doubt) <= CLOSE * _score(
        leader
    )


def _score(trial: Trial) -> float:
    return trial.score or 0.0


def _measured(run: Run, contest: Contest, entries: Sequence[Entry]) -> Measurement | None:
    """The release measurement; None, and at least one entry dropped, where one of them spoils it.

    Where none of them does, a worker process was ended from outside: it is measured once more.
    """
    settings = run.release(entries[0].threads if entries else 1)
    try:
        return contest.measure(list(entries), settings)
    except MeasurementError:
        spoiled = [entry for entry in entries if not _measurable(run, contest, entry)]
        return None if spoiled else contest.measure(list(entries), settings)


def _measurable(run: Run, contest: Contest, entry: Entry) -> bool:
    """Whether a candidate can be measured beside the original alone; it is dropped if not."""
    try:
        contest.measure([entry], Settings.quick(threads=entry.threads, seed=run.job.seed))
    except MeasurementError as error:
        contest.drop(entry, str(error))
        return False
    return True


def _proven(run: Run, contest: Contest, measurement: Measurement, entries: Sequence[Entry]) -> Decision:
    """The decision, its winner verified once more and started in a fresh process in this very run."""
    left = list(entries)
    while True:
        decision = decide(measurement, left)
        if decision.winner is None:
            return decision
        again = _usable(run, contest, decision.winner, measurement.settings.threads)
        if again is not None:
            return replace(decision, winner=again)
        left.remove(decision.winner)


def _usable(run: Run, contest: Contest, entry: Entry, threads: int) -> Entry | None:
    """The entry after another verification and a cold start; None, and the entry dropped, where one fails."""
    again = contest.verified_again(entry)
    if again.status != "verified":
        return None
    try:
        cold_figures(run, contest, again, threads)
    except MeasurementError as error:
        contest.drop(again, str(error))
        return None
    return again


def _why_none(run: Run, contest: Contest) -> str:
    """Why there was nothing to measure."""
    entries = contest.entries()
    late = [entry for entry in entries if entry.status == "not measured"]
    if entries and len(late) == len(entries):
        return (
            f"nothing was built within the time budget of {run.job.profile.budget_s:g} s; "
            f"give more with --budget SECONDS"
        )
    if late:
        return f"no candidate passed verification; {len(late)} of {len(entries)} were not built in time"
    return "no candidate passed verification"


def _original_kept(run: Run, contest: Contest, measurement: Measurement, decision: Decision) -> Final:
    """The original is kept: exported if no slower, as that needs no one's code, else as it came."""
    plain = contest.plain()
    if plain.status != "verified":
        return Final(measurement, decision, None)
    if plain.label not in [subject.label for subject in measurement.subjects]:
        again = _measured(run, contest, [plain])
        if again is None:
            return Final(measurement, decision, None)
        measurement = again
    slower = is_slower(measurement.ratio(ORIGINAL, plain.label))
    usable = None if slower else _usable(run, contest, plain, measurement.settings.threads)
    return Final(measurement, decision, usable)
