"""Building an agent's candidates: the likely winners first, and not what cannot win any more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from grandopt.compiler import build
from grandopt.errors import MeasurementError
from grandopt.measurement.environment import available_cores, crowded
from grandopt.measurement.settings import MeasurementSettings
from grandopt.reporting.verdict import went_on
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.building.request import BuildResult, Deadline, Variant
from grandopt.workflows.job import Run
from grandopt.workflows.memo.build_history import BuildHistory
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.characterisation import measure_or_load
from grandopt.workflows.selection.dispatch import least_call_us
from grandopt.workflows.selection.mixtures import needless
from grandopt.workflows.selection.outpaced import AgentLimits, Leader, LeastCalls
from grandopt.workflows.selection.priority import Outlook, in_order, kind_of

LEAST_SHARE = 0.25
"""Share of an agent's time budget that building gets where capturing it took longer than it should."""

LONG_CALL_US = 50.0
"""No engine spends as much around a call; an agent that takes longer has room for all of them."""

LOOK_S = 0.25
"""Seconds of calls of one candidate that tell how fast the likely winners are."""


class BuildStage:
    """Builds and verifies all candidates of an agent until `budget_s` seconds are used up.

    The first candidate at each precision of an engine that is always built leads: these come before all
    others and have `leading_s` seconds, where that is more, and one of them is finished whatever the budget.
    However little is left of the agent's budget, building gets LEAST_SHARE of it; and while no candidate is
    verified it goes on for another such share, because one that comes late is better than none. What is left
    from an earlier run gets the time that this one has beyond that one's, and LEAST_SHARE at least.

    `counts` are the thread counts to build for, else those to try; all candidates come at the first of them
    before any comes at another. `limits` are those of the machine, where they are known.
    """

    def __init__(
        self,
        run: Run,
        candidate_set: CandidateSet,
        budget_s: float,
        counts: Sequence[int] | None = None,
        *,
        leading_s: float = 0.0,
        limits: AgentLimits | None = None,
    ) -> None:
        self._run = run
        self._set = candidate_set
        self._limits = limits
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
        self._least_s = LEAST_SHARE * run.job.profile.budget_s
        self._leading = self._until(max(budget_s, leading_s))
        self._deadline = self._until(budget_s)

    def _until(self, seconds: float) -> Deadline:
        """The deadline of what is given so many seconds from now."""
        given = max(self._least_s, seconds)
        enough = time.monotonic() + given
        return Deadline(enough, enough + self._least_s, self._certain(), given)

    def build_all(self, *, skip_outpaced: bool = False) -> None:
        """Build everything; with `skip_outpaced` but for what the fastest so far outpaces in any case.

        That is for a latency at batch 1: how long a call takes at least is known of nothing else. What
        weighs its layers comes after what leads, and only where it is needed.
        """
        mixtures = [place for place, found in self._outlooks.items() if found.candidate.weighs]
        wanted = [place for place in self._outlooks if place not in mixtures]
        if skip_outpaced or mixtures:
            leading = [place for place in wanted if self._outlooks[place].leads]
            self._build(leading, self._leading)
            self._build_mixtures(mixtures)
            wanted = [place for place in wanted if place not in leading]
        if skip_outpaced:
            wanted = self._able_to_win(wanted)
        self._build(wanted, self._beyond_earlier_runs(wanted))
        if self._set.continued:
            self._run.tell(self._set.program.name, "build", went_on(self._set.continued))

    @property
    def places(self) -> list[Variant]:
        """All that can be built, in order."""
        return list(self._outlooks)

    @property
    def leading(self) -> list[Variant]:
        """What leads."""
        return [place for place, found in self._outlooks.items() if found.leads]

    def build_only(self, wanted: Sequence[Variant]) -> None:
        """Build these, in the time of what leads. Of our own code what is in the store is verified here and
        now, which is quicker than a process for it."""
        kept = [
            place
            for place in wanted
            if self._outlooks[place].candidate.options.ours and self._set.earlier.has(place)
        ]
        for place in kept:
            self._set.build_one(*place)
        self._build([place for place in wanted if place not in kept], self._leading)

    def _beyond_earlier_runs(self, wanted: Sequence[Variant]) -> Deadline:
        """When building these stops: sooner where an earlier run used up its time without them."""
        had = self._set.earlier.had_s(wanted)
        left = self._deadline.enough - time.monotonic()
        if not had or left < self._least_s:
            return self._deadline
        found = self._until(left - had)
        return replace(found, given_s=had + found.given_s)

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

    def _build(self, wanted: Sequence[Variant], deadline: Deadline) -> None:
        certain = deadline.certain
        if certain is not None and certain in wanted:
            wanted = [certain, *(place for place in wanted if place != certain)]
        expected = {place: self._outlooks[place].expected for place in wanted}
        self._done += self._set.build(wanted, deadline, expected)

    def _build_mixtures(self, mixtures: Sequence[Variant]) -> None:
        """Those that weigh their layers, one after the other until one is verified."""
        for place in mixtures:
            reason = needless(self._outlooks[place].candidate, self._set.builds())
            if reason is None:
                self._build([place], self._leading)
            else:
                self._set.skip(place, reason)

    def _certain(self) -> Variant | None:
        """The first candidate of an engine that is always built, in float32 where there is one: that is the
        likeliest to be verified."""
        of = {place: found.candidate for place, found in self._outlooks.items()}
        first = [place for place, candidate in of.items() if candidate.options.prior.always]
        exact = [place for place in first if of[place].precision == "float32"]
        return next(iter([*exact, *first]), None)

    def _able_to_win(self, wanted: Sequence[Variant]) -> list[Variant]:
        """Those of the candidates that have to be built and may still win; the others are recorded with the
        reason, and those of engines that are always built are built first.

        What earlier runs built is there anyway, and left to the search.
        """
        missing = self._set.missing(wanted, self._deadline)
        builds = self._leaders() if missing else []
        medians = self._looked_at(builds)
        if not medians:
            return missing
        leader = Leader(*min(medians.items(), key=lambda pair: pair[1]))
        least = LeastCalls(self._limits).holding_for(builds, medians)
        left = self._skip_outpaced(missing, least, leader)
        always = [place for place in left if self._outlooks[place].candidate.options.prior.always]
        self._build(always, self._beyond_earlier_runs(always))
        left = [place for place in left if place not in always]
        if leader.us > LONG_CALL_US:
            return left
        engines = dict.fromkeys(self._outlooks[place].candidate.engine for place in left)
        through = least_call_us(self._run, list(engines), self._deadline.enough)
        return self._skip_outpaced(left, replace(least, through=through), leader)

    def _skip_outpaced(self, wanted: Sequence[Variant], least: LeastCalls, leader: Leader) -> list[Variant]:
        """Those that may be faster than the leader."""
        left = []
        for place in wanted:
            reason = least.outpaced(self._outlooks[place].candidate, place[1], leader)
            if reason is None:
                left.append(place)
            else:
                self._set.skip(place, reason)
        return left

    def _leaders(self) -> list[BuiltCandidate]:
        """The verified ones of the candidates that lead, of which earlier runs had a look at the same."""
        leading = {place for place, found in self._outlooks.items() if found.leads}
        builds = [
            built
            for built in self._set.builds()
            if built.status == "verified" and (built.candidate.label, built.threads) in leading
        ]
        return sorted(builds, key=lambda built: built.label)

    def _looked_at(self, builds: Sequence[BuiltCandidate]) -> Mapping[str, float]:
        """The median µs of a call of each, by label; nothing where there are none, or one spoils it."""
        if not builds:
            return {}
        try:
            return first_look(self._run, self._set, builds)
        except MeasurementError as error:
            self._run.tell(self._set.program.name, "build", f"not measured: {error}", level="warning")
            return {}


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
