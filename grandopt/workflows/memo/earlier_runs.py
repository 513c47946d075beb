"""What earlier runs found out about an agent's builds, and what this one leaves to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.measurement.environment import crowded
from grandopt.reason import ReasonCode
from grandopt.workflows.building.built import BuildInputs, BuiltCandidate, load_cached
from grandopt.workflows.building.request import BuildResult, BuildStatus, Variant
from grandopt.workflows.job import Run
from grandopt.workflows.memo.failed_builds import FailedBuilds


class EarlierRuns:
    """The builds of one agent in the store of a run, by candidate and threads. With `--no-resume` there are
    none."""

    def __init__(self, run: Run, inputs: BuildInputs, candidates: Mapping[str, Candidate]) -> None:
        self._run = run
        self._inputs = inputs
        self._candidates = candidates
        self._failed = FailedBuilds(run.store, run.job.resume)
        self.goes_on_with: set[Variant] = set()
        """What an earlier run had no time for, and this one tries."""

    def built(self, variant: Variant) -> BuiltCandidate | None:
        """What an earlier run built and verified."""
        if not self._run.job.resume:
            return None
        return load_cached(self._inputs, self._candidates[variant[0]], self._run.store, variant[1])

    def has(self, variant: Variant) -> bool:
        """Whether there is such a build, verified or not."""
        return self._run.job.resume and self._run.store.get(self.key(variant)) is not None

    def failed(self, variant: Variant, seconds: float, *, retried: bool) -> BuiltCandidate | None:
        """What could not be built then, and would not be in so many seconds; None for what is to be tried.

        What was too slow then is tried again where it never began or has more time now, or is to be
        `retried`.
        """
        found = self._failed.of(self.key(variant))
        if found is None:
            return None
        late = found.reason.code is ReasonCode.NOT_BUILT_IN_TIME
        if late and (retried or found.is_worth_another_try(seconds)):
            self.goes_on_with.add(variant)
            return None
        status: BuildStatus = "not measured" if late else "failed"
        return BuiltCandidate(self._candidates[variant[0]], variant[1], status, found.told)

    def had_s(self, variants: Sequence[Variant]) -> float:
        """The most seconds for building that were used up in earlier runs before they came to these; 0 where
        none came to one of them."""
        notes = [self._failed.of(self.key(variant)) for variant in variants]
        late = [note for note in notes if note and note.reason.code is ReasonCode.NOT_BUILT_IN_TIME]
        return max((note.stage_s for note in late), default=0.0) if len(late) == len(notes) else 0.0

    def keep(self, result: BuildResult, stage_s: float) -> None:
        """Note a build that came to nothing, where the next run need not find that out again, and give the
        fleet one that came to something.

        All builds together had `stage_s` seconds. One that others' work on this machine may have delayed is
        noted as if it had not begun.
        """
        if result.status in ("verified", "refused"):
            self._run.store.share(self.key(result.variant))
        if result.reason is None:
            return
        if result.status == "not measured":
            times = (0.0, 0.0) if crowded(self._run.builders.count) else (result.seconds, stage_s)
            self._failed.keep(self.key(result.variant), result.status, result.reason, *times)
        elif result.status == "failed" and not result.crashed:
            self._failed.keep(self.key(result.variant), result.status, result.reason)

    def key(self, variant: Variant) -> str:
        """The key of the build: all that its outcome depends on."""
        candidate = self._candidates[variant[0]]
        return build.key(self._inputs.program, candidate, variant[1], self._inputs.grounds(candidate))
