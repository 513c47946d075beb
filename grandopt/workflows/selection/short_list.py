"""What another machine of this kind found out about an agent, and so what is built and measured here."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence

from grandopt.measurement.environment import crowded, libraries
from grandopt.measurement.result import Measurement
from grandopt.reason import ReasonCode
from grandopt.tuning.result import Trial, TuningResult
from grandopt.tuning.space import ChoiceSpace
from grandopt.workflows.building.built import ORIGINAL, BuiltCandidate
from grandopt.workflows.building.request import Variant
from grandopt.workflows.job import Run
from grandopt.workflows.memo.findings import ANEW, Finding, Findings, share_findings, told_findings
from grandopt.workflows.memo.fingerprint import code_digest
from grandopt.workflows.selection.build_stage import BuildStage, threads
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import FINALISTS
from grandopt.workflows.selection.search import study_name

CHANCE = (
    ReasonCode.CRASHED,
    ReasonCode.OUT_OF_MEMORY,
    ReasonCode.ARTIFACT_LOST,
    ReasonCode.MEASUREMENT_FAILED,
)
"""What need not happen again another time."""

DECIDING = ("measurement", "verification", "runtime", "workflows", "signature.py")
"""The parts of grandopt that decide what is tried, how it is judged, and what a finding says."""


def share(run: Run, candidate_set: CandidateSet, found: TuningResult, final: Measurement) -> None:
    """Tell the other machines of this kind what became of the candidates in the search and, of those that
    came that far, in the final measurement.

    What others' work on this machine may have disturbed is not told, nor what need not happen again.
    """
    if run.store.fleet is None or run.shared is not None:
        return
    if crowded(run.builders.count):
        words = "what was found is not told to other machines: this one was busy with other work"
        run.tell(candidate_set.program.name, "measure", words)
        return
    trials = {(trial.choice.candidate, trial.choice.threads): trial for trial in found.trials}
    rows: dict[Variant, Finding] = {}
    for built in candidate_set.builds():
        place = (built.candidate.label, built.threads)
        rows[place] = _finding(built, trials.get(place), final)
    told = {
        place: item for place, item in rows.items() if item.reason is None or item.reason.code not in CHANCE
    }
    share_findings(run.store, _key(run, candidate_set), told)


def _finding(built: BuiltCandidate, trial: Trial | None, final: Measurement) -> Finding:
    if built.status == "verified" and built.label in [subject.label for subject in final.subjects]:
        speedup = final.ratio(ORIGINAL, built.label)
        return Finding("verified", None, final.summary(built.label).p50_us, 1 - speedup.value / speedup.high)
    if built.status != "verified" or trial is None:
        return Finding(built.status, built.reason)
    if trial.figures is None:
        return Finding("failed", trial.reason)
    return Finding("verified", None, trial.figures.latency_us, trial.figures.doubt)


def build_told(run: Run, candidate_set: CandidateSet, stage: BuildStage) -> list[BuiltCandidate]:
    """Build what another machine of this kind found about as fast as the fastest there, and nothing else, and
    enter all others as it found them; what nothing is known of is tried here, too. What is usable of it all
    is the list; where it is empty, all is left to be built.
    """
    told = _findings_of_others(run, candidate_set)
    close = [] if told is None else [place for place in told.close() if place in stage.places]
    if told is None or not close:
        return []
    close = [place for place in close if place[1] == close[0][1]][:FINALISTS]
    stage.build_only(close)
    name = candidate_set.program.name
    listed = [built for built in candidate_set.builds() if built.status == "verified"]
    if not listed:
        words = f"nothing of what was fastest on a machine of this kind on {told.since} is usable here"
        run.tell(name, "build", f"{words}; all are tried", level="warning")
        return []
    unknown = []
    for place in stage.places:
        outcome = None if place in close else told.told(place)
        if outcome is not None:
            candidate_set.skip(place, outcome[1], outcome[0])
        elif place not in close:
            unknown.append(place)
    stage.build_only(unknown)
    count = len(close) + len(unknown)
    words = (
        f"{count} of {len(stage.places)} candidates are measured here, by what a machine of this kind found"
    )
    run.tell(name, "build", f"{words} on {told.since}; {ANEW} tries all")
    return [built for built in candidate_set.builds() if built.status == "verified"]


def is_short(listed: Sequence[BuiltCandidate]) -> bool:
    """Whether all of a list can be measured side by side with the original, so that no search has to put them
    in order: they are few, and take the same number of threads."""
    return 0 < len(listed) <= FINALISTS and len({built.threads for built in listed}) == 1


def _findings_of_others(run: Run, candidate_set: CandidateSet) -> Findings | None:
    """What another machine of this kind found out under the same conditions; None where none did, this one
    did so itself, or the run is to find everything out anew.

    A run that shares its trials has them from their study.
    """
    if run.store.fleet is None or run.shared is not None or not run.job.resume:
        return None
    return told_findings(run.store, _key(run, candidate_set))


def _key(run: Run, candidate_set: CandidateSet) -> str:
    profile = run.job.profile
    space = ChoiceSpace(tuple(candidate_set.candidates), threads(run), (1,))
    parts = [
        "findings",
        study_name(run, candidate_set, space, "latency"),
        [profile.budget_s, profile.trials],
        code_digest(DECIDING),
        libraries(),
        platform.python_version(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
