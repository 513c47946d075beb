"""A selection's last step: what the search left is measured beside the original, and the winner is proven.

A finalist that cannot be measured, does not pass verification once more, or does not start in a fresh process
is dropped with its reason, and the next best takes its place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from grandopt.errors import MeasurementError
from grandopt.measurement.result import Measurement, Ratio
from grandopt.measurement.settings import MOST_PROCESSES, MeasurementSettings
from grandopt.reason import IN_TIME, Reason, ReasonCode
from grandopt.tuning.result import Trial, TuningResult
from grandopt.workflows.building.built import NOT_BUILT, ORIGINAL, BuiltCandidate
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.characterisation import cold_figures

FINALISTS = 3
CLOSE = 1.15
"""Candidates within this factor of the fastest are too close to call in a short measurement."""


@dataclass(frozen=True)
class Final:
    """What the last measurement found, and what is kept: a candidate, or the original as it came."""

    measurement: Measurement
    decision: Decision
    kept: BuiltCandidate


def final(
    run: Run,
    candidate_set: CandidateSet,
    found: TuningResult,
    listed: Sequence[BuiltCandidate] = (),
) -> Final:
    """Measure the finalists and decide: those of a search, or, where there was none, what is `listed`.

    Raises MeasurementError when the original cannot be measured.
    """
    while True:
        builds = usable(candidate_set, listed) if listed else finalists(candidate_set, found)
        run.tell(
            candidate_set.program.name, "measure", ", ".join([ORIGINAL, *(built.label for built in builds)])
        )
        measurement = _measured(run, candidate_set, builds)
        if measurement is None:
            continue
        decision = _proven(run, candidate_set, measurement, builds)
        dropped = any(
            candidate_set.build_one(e.candidate.label, e.threads).status != "verified" for e in builds
        )
        if decision.winner is None and dropped:
            continue  # the next best may still be faster than the original
        if decision.winner is not None:
            return Final(measurement, decision, decision.winner)
        if not builds:
            decision = replace(decision, reason=_why_none(run, candidate_set))
        return _original_kept(run, candidate_set, measurement, decision)


def usable(candidate_set: CandidateSet, listed: Sequence[BuiltCandidate]) -> list[BuiltCandidate]:
    """Those of a list that were not dropped since."""
    now = (candidate_set.build_one(built.candidate.label, built.threads) for built in listed)
    return [built for built in now if built.status == "verified"]


def finalists(candidate_set: CandidateSet, found: TuningResult) -> list[BuiltCandidate]:
    """The fastest usable candidate of the search and those too close to it, all at its thread count.

    One that lost the first look is the fastest where all that did not are unusable. A trial of an earlier
    run is built again here (from the store) and verified again.
    """
    chosen: list[BuiltCandidate] = []
    leader: Trial | None = None
    for trial in ranked(found):
        if len(chosen) == FINALISTS:
            break
        if leader is not None and not _is_close(trial, leader):
            continue
        built = candidate_set.build_one(trial.choice.candidate, trial.choice.threads)
        if built.status == "verified":
            leader = leader or trial
            chosen.append(built)
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


def _measured(run: Run, candidate_set: CandidateSet, builds: Sequence[BuiltCandidate]) -> Measurement | None:
    """The release measurement; None, and at least one candidate dropped, where one of them spoils it.

    Where none of them does, a worker process was ended from outside: it is measured once more. Where the
    machine was disturbed it is measured in more processes, while the agent's time lasts.
    """
    settings, begin = run.release(builds[0].threads if builds else 1), time.monotonic()
    try:
        found = candidate_set.measure(list(builds), settings)
    except MeasurementError:
        spoiled = [built for built in builds if not _measurable(run, candidate_set, built)]
        return None if spoiled else candidate_set.measure(list(builds), settings)
    seconds = (time.monotonic() - begin) / settings.processes
    return _settled(run, candidate_set, builds, found, seconds)


def _settled(
    run: Run,
    candidate_set: CandidateSet,
    builds: Sequence[BuiltCandidate],
    found: Measurement,
    seconds: float,
) -> Measurement:
    """The measurement with one process more at a time, of about so many seconds, until its figures are steady
    or the time is up."""
    labels, name = [built.label for built in builds], candidate_set.program.name
    one = replace(found.settings, processes=1, max_seconds=found.settings.seconds_per_process)
    while (count := found.settings.processes) < MOST_PROCESSES:
        fastest = max(labels, key=lambda label: found.ratio(ORIGINAL, label).value, default=ORIGINAL)
        steady = found.samples(ORIGINAL).stable and found.steady(fastest, ORIGINAL)
        if steady or run.ends is None or time.monotonic() + seconds > run.ends:
            break
        run.tell(name, "measure", f"not steady yet: one process more than {count}")
        try:
            found = found.joined(candidate_set.measure(list(builds), one, first=count))
        except MeasurementError as error:
            run.tell(name, "measure", f"no more processes: {error}", level="warning")
            break
    return found


def _measurable(run: Run, candidate_set: CandidateSet, built: BuiltCandidate) -> bool:
    """Whether a candidate can be measured beside the original alone; it is dropped if not."""
    try:
        candidate_set.measure([built], MeasurementSettings.quick(threads=built.threads, seed=run.job.seed))
    except MeasurementError as error:
        candidate_set.drop(built, Reason.of(error))
        return False
    return True


def _proven(
    run: Run, candidate_set: CandidateSet, measurement: Measurement, builds: Sequence[BuiltCandidate]
) -> Decision:
    """The decision, its winner verified once more and started in a fresh process in this very run."""
    left = list(builds)
    while True:
        decision = decide(measurement, left)
        if decision.winner is None:
            return decision
        again = _usable(run, candidate_set, decision.winner, measurement.settings.threads)
        if again is not None:
            return replace(decision, winner=again)
        left.remove(decision.winner)


def _usable(
    run: Run, candidate_set: CandidateSet, built: BuiltCandidate, threads: int
) -> BuiltCandidate | None:
    """The candidate after another verification and a cold start; None, and it is dropped, where one fails."""
    again = candidate_set.verify_again(built)
    if again.status != "verified":
        return None
    try:
        cold_figures(run, candidate_set, again, threads)
    except MeasurementError as error:
        candidate_set.drop(again, Reason.of(error))
        return None
    return again


def _why_none(run: Run, candidate_set: CandidateSet) -> Reason:
    """Why there was nothing to measure."""
    builds = candidate_set.builds()
    late = [built for built in builds if built.reason is not None and built.reason.code in IN_TIME]
    failed = [built for built in builds if built.status == "failed"]
    if builds and len(failed) == len(builds):
        return Reason(ReasonCode.NOTHING_BUILT, f"nothing could be built: {failed[0].reason}")
    if builds and len(late) == len(builds):
        words = f"nothing was built within the time budget of {run.job.profile.budget_s:g} s; give more with "
        return Reason(ReasonCode.NOT_BUILT_IN_TIME, f"{words}{NOT_BUILT.remedy}", NOT_BUILT.remedy)
    rest = f"; {len(late)} of {len(builds)} were not built in time" if late else ""
    if failed and len(failed) + len(late) == len(builds):
        words = f"nothing was built: {failed[0].reason}{rest}"
        return Reason(ReasonCode.NOTHING_BUILT, words, NOT_BUILT.remedy)
    return replace(NONE_USABLE, text=f"{NONE_USABLE}{rest}", remedy=NOT_BUILT.remedy if late else None)


def _original_kept(
    run: Run, candidate_set: CandidateSet, measurement: Measurement, decision: Decision
) -> Final:
    """The original is kept: exported if no slower, as that needs no one's code, else as it came."""
    came = candidate_set.original
    plain = candidate_set.build_exported_original()
    if plain.status != "verified":
        return Final(measurement, decision, came)
    if plain.label not in [subject.label for subject in measurement.subjects]:
        again = _measured(run, candidate_set, [plain])
        if again is None:
            return Final(measurement, decision, came)
        measurement = again
    slower = is_slower(measurement.ratio(ORIGINAL, plain.label))
    usable = None if slower else _usable(run, candidate_set, plain, measurement.settings.threads)
    return Final(measurement, decision, usable or came)


@dataclass(frozen=True)
class Decision:
    """The winner with its speed-up, or None with the reason why the original is kept."""

    winner: BuiltCandidate | None
    ratio: Ratio | None
    reason: Reason | None


NONE_USABLE = Reason(ReasonCode.NONE_USABLE, "no candidate passed verification")


def decide(measurement: Measurement, builds: Sequence[BuiltCandidate]) -> Decision:
    """Choose among verified candidates that were measured together with the original.

    A candidate qualifies when the whole 95 % interval of its paired speed-up is above 1; among those the
    one with the largest median speed-up wins.
    """
    ratios = {built.label: measurement.ratio(ORIGINAL, built.label) for built in builds}
    if not ratios:
        return Decision(None, None, NONE_USABLE)
    ranked = sorted(builds, key=lambda built: ratios[built.label].value, reverse=True)
    for built in ranked:
        if ratios[built.label].low > 1:
            return Decision(built, ratios[built.label], None)
    best = ranked[0]
    ratio = ratios[best.label]
    return Decision(
        None,
        None,
        Reason(
            ReasonCode.NOTHING_FASTER,
            f"nothing was faster: the best, {best.label}, ran at {ratio.value:.2f}× the original's speed "
            f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f})",
        ),
    )


def is_slower(ratio: Ratio) -> bool:
    """Whether a paired speed-up shows a slow-down: its whole interval is below 1."""
    return ratio.high < 1
