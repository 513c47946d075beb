"""Building an agent's candidates: the likely winners first, and not what cannot win any more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from grandopt.compiler import build
from grandopt.errors import MeasurementError
from grandopt.measurement.environment import available_cores, crowded
from grandopt.measurement.settings import MeasurementSettings
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.units import duration
from grandopt.reporting.verdict import went_on
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.building.request import BuildResult, Deadline, Variant
from grandopt.workflows.job import Run
from grandopt.workflows.memo.build_history import BuildHistory
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.characterisation import measure_or_load
from grandopt.workflows.selection.dispatch import least_call_us
from grandopt.workflows.selection.mixtures import needless
from grandopt.workflows.selection.priority import Outlook, in_order, kind_of

LEAST_SHARE = 0.25
"""Share of an agent's time budget that building gets where capturing it took longer than it should."""

LONG_CALL_US = 50.0
"""No engine spends as much around a call; an agent that takes longer has room for all of them."""

LOOK_S = 0.25
"""Seconds of calls of one candidate that tell how fast the likely winners are."""


class BuildStage:
    """Builds and verifies all candidates of an agent until `budget_s` seconds are used up.

    However little is left of the agent's budget, building gets LEAST_SHARE of it; and while no candidate is
    verified it goes on for another such share, because one that comes late is better than none. Candidates of
    engines that are always built come first, and the first of them is finished whatever the budget. `counts`
    are the thread counts to build for, else those to try; all candidates come at the first of them before any
    comes at another.
    """

    def __init__(
        self, run: Run, candidate_set: CandidateSet, budget_s: float, counts: Sequence[int] | None = None
    ) -> None:
        self._run = run
        self._set = candidate_set
        self._flop = build.flop(candidate_set.program)
        self._history = BuildHistory(run.store)
        self._done: list[BuildResult] = []
        order = in_order(candidate_set.candidates.values(), self._flop, self._history.seen)
        tried = counts or threads(run)
        self._outlooks: dict[Variant, Outlook] = {
            (found.candidate.label, count): found
            for count in tried
            for found in order
            if count == tried[0] or found.candidate.options.threads != "caller"
        }
        least = LEAST_SHARE * run.job.profile.budget_s
        enough = time.monotonic() + max(least, budget_s)
        self._deadline = Deadline(enough, enough + least, self._certain())

    def build_all(self, *, skip_outpaced: bool = False) -> None:
        """Build everything; with `skip_outpaced` but for what the fastest so far outpaces in any case.

        That is for a latency at batch 1: how long a call takes at least is known of nothing else. What
        weighs its layers comes after what is always built, and only where it is needed.
        """
        of = {place: found.candidate for place, found in self._outlooks.items()}
        mixtures = [place for place, candidate in of.items() if candidate.weighs]
        wanted = [place for place in of if place not in mixtures]
        if skip_outpaced or mixtures:
            always = [place for place in wanted if of[place].options.prior.always]
            self._build(always)
            self._build_mixtures(mixtures)
            wanted = [place for place in wanted if place not in always]
        if skip_outpaced:
            wanted = self._without_outpaced(wanted)
        self._build(wanted)
        if self._set.continued:
            self._run.tell(self._set.program.name, "build", went_on(self._set.continued))

    def remember(self, winner: BuiltCandidate | None) -> None:
        """Note in the store how the builds of this run went, and which of them was the fastest candidate.

        What others' work on this machine may have delayed is not noted.
        """
        if crowded(self._run.builders.count):
            return
        kinds = [
            (kind_of(self._outlooks[result.variant].candidate, self._flop), result.seconds)
            for result in self._done
            if result.seconds > 0
        ]
        won = None if winner is None or winner.is_original else (winner.candidate.label, winner.threads)
        fresh = won is not None and any(result.variant == won for result in self._done)
        self._history.add(kinds, kind_of(winner.candidate, self._flop) if winner and fresh else None)

    def _build(self, wanted: Sequence[Variant]) -> None:
        certain = self._deadline.certain
        if certain is not None and certain in wanted:
            wanted = [certain, *(place for place in wanted if place != certain)]
        expected = {place: self._outlooks[place].expected for place in wanted}
        self._done += self._set.build(wanted, self._deadline, expected)

    def _build_mixtures(self, mixtures: Sequence[Variant]) -> None:
        """Those that weigh their layers, one after the other until one is verified."""
        for place in mixtures:
            reason = needless(self._outlooks[place].candidate, self._set.builds())
            if reason is None:
                self._build([place])
            else:
                self._set.skip(place, reason)

    def _certain(self) -> Variant | None:
        """The first candidate of an engine that is always built, in float32 where there is one: that is the
        likeliest to be verified."""
        of = {place: found.candidate for place, found in self._outlooks.items()}
        first = [place for place, candidate in of.items() if candidate.options.prior.always]
        exact = [place for place in first if of[place].precision == "float32"]
        return next(iter([*exact, *first]), None)

    def _without_outpaced(self, wanted: Sequence[Variant]) -> list[Variant]:
        """Those of the candidates that may still win; the others are recorded with the reason.

        What earlier runs built is there anyway, and left to the search.
        """
        missing = self._set.missing(wanted, self._deadline)
        in_time = time.monotonic() < self._deadline.enough
        leader = self._leader() if missing and in_time else None
        if leader is None or leader[1] > LONG_CALL_US:
            return missing
        engines = dict.fromkeys(self._outlooks[place].candidate.engine for place in missing)
        least = least_call_us(self._run, list(engines), self._deadline.enough)
        outpaced = {
            place: _outpaced(engine, least[engine], *leader)
            for place in missing
            if least.get(engine := self._outlooks[place].candidate.engine, 0.0) > leader[1]
        }
        for place, reason in outpaced.items():
            self._set.skip(place, reason)
        return [place for place in missing if place not in outpaced]

    def _leader(self) -> tuple[str, float] | None:
        """The fastest of what is always built, and the median µs of its calls; None where there is none."""
        builds = [
            built
            for built in self._set.builds()
            if built.status == "verified" and built.candidate.options.prior.always
        ]
        if not builds:
            return None
        try:
            medians = first_look(self._run, self._set, sorted(builds, key=lambda built: built.label))
        except MeasurementError as error:
            self._run.tell(self._set.program.name, "build", f"not measured: {error}", level="warning")
            return None
        return min(medians.items(), key=lambda pair: pair[1])


def first_look(
    run: Run, candidate_set: CandidateSet, builds: Sequence[BuiltCandidate]
) -> Mapping[str, float]:
    """The median µs of a call of each, by label; kept from an earlier run where that had the same builds.

    Raises MeasurementError when one of them cannot be measured.
    """
    count = builds[0].threads
    builds = [built for built in builds if built.threads == count]
    settings = MeasurementSettings.quick(
        threads=count, seed=run.job.seed, rounds=5, window_ms=2.0, max_seconds=LOOK_S
    )

    def measured() -> dict[str, Any]:
        run.tell(candidate_set.program.name, "build", f"a first look at {len(builds)} candidates")
        found = candidate_set.measure(list(builds), settings)
        return {"medians": {built.label: found.summary(built.label).p50_us for built in builds}}

    artifacts = [candidate_set.artifact(built) for built in builds]
    found: dict[str, float] = measure_or_load(
        run, "first look", artifacts, [count, LOOK_S, run.job.seed], measured
    )["medians"]
    return found


def threads(run: Run) -> tuple[int, ...]:
    """The thread counts to try: the job's, or for "auto" all from 1 to what the machine grants."""
    return tuple(range(1, available_cores() + 1)) if run.job.threads == "auto" else (run.job.threads,)


def _outpaced(engine: str, least_us: float, label: str, median_us: float) -> Reason:
    words = (
        f"not built: a call through {engine} takes at least {duration(least_us)} on this machine, whatever "
        f"the agent, and {label} takes {duration(median_us)}"
    )
    return Reason(ReasonCode.OUTPACED, words)
