"""Choosing an agent's artifact: its candidates are built, put in order, and the best measured and proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.measurement.limit import MachineLimit
from grandopt.tuning.result import TuningResult
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.job import Run, Stages, storage_url
from grandopt.workflows.memo.findings import ANEW
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import Final, final, ranked, usable
from grandopt.workflows.selection.search import Search, search
from grandopt.workflows.selection.short_list import build_told, is_short, share
from grandopt.workflows.workload import Workload

BUILD_SHARE = 0.65
SEARCH_SHARE = 0.85
"""Shares of an agent's time budget by the end of which building and searching stop; what leads the builds has
all of it: a search without the likeliest winners finds little."""

NOT_SEARCHED = TuningResult((), None, "latency", "exhausted")
"""Of candidates that go into the final measurement as they are."""


@dataclass(frozen=True)
class Selected:
    """What the search found, and what the final measurement decided.

    `told` is whether it was among what another machine told alone: then no more is measured of the original
    than what decides.
    """

    found: TuningResult
    outcome: Final
    told: bool = False

    def best_two(self, candidate_set: CandidateSet) -> list[BuiltCandidate]:
        """What is shipped, and the fastest other candidate of the search, where there was one."""
        kept = self.outcome.kept
        for trial in ranked(self.found):
            if trial.state == "complete":
                built = candidate_set.build_one(trial.choice.candidate, trial.choice.threads)
                if built.label != kept.label and built.status == "verified":
                    return [kept, built]
        return [kept]


def select(
    run: Run, candidate_set: CandidateSet, amount: Workload, limit: MachineLimit, stages: Stages
) -> Selected:
    """Build, search, measure and decide; the steps are "build", "search" and "measure".

    Where another machine of this kind told what it found out, the little that was fastest there is measured
    without a search; should none of it be usable here, everything is tried as if nothing were known.
    Raises MeasurementError when the original cannot be measured.
    """
    budget_s = run.job.profile.budget_s
    with stages.step("build"):
        builds = BuildStage(
            run,
            candidate_set,
            BUILD_SHARE * budget_s - stages.elapsed(),
            leading_s=budget_s - stages.elapsed(),
            # Asked for when native builds are there, which may have less to do than the original.
            limits=lambda precision, threads: amount.left_by(candidate_set.builds()).limit(
                limit, precision, threads
            ),
        )
        listed = build_told(run, candidate_set, builds)
    if listed:
        chosen = _measured(run, candidate_set, stages, listed)
        if usable(candidate_set, listed):
            builds.remember(chosen.outcome.decision.winner)
            if not chosen.outcome.kept.is_original:
                words = f"not measured of the original, which decides nothing; {ANEW} does"
                run.tell(candidate_set.program.name, "start", words)
            return chosen
    with stages.step("build"):
        builds.build_all(skip_outpaced=True)
    chosen = _measured(run, candidate_set, stages)
    with stages.step("measure"):
        builds.remember(chosen.outcome.decision.winner)
        share(run, candidate_set, chosen.found, chosen.outcome.measurement)
    return chosen


def _measured(
    run: Run, candidate_set: CandidateSet, stages: Stages, listed: Sequence[BuiltCandidate] = ()
) -> Selected:
    """The final measurement, after a search where there is more than a short list."""
    found, short = NOT_SEARCHED, listed
    if not is_short(listed):
        short = ()
        with stages.step("search"):
            found = search(run, candidate_set, _search(run, stages))
    with stages.step("measure"):
        return Selected(found, final(run, candidate_set, found, short), bool(listed))


def _search(run: Run, stages: Stages) -> Search:
    profile = run.job.profile
    return Search(
        trials=profile.trials,
        budget_s=max(1.0, profile.budget_s * SEARCH_SHARE - stages.elapsed()),
        storage_url=storage_url(run.job),
        together=True,
    )
