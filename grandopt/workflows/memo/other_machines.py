"""The builds of one agent, made by several machines that share a store of them."""

from __future__ import annotations

from typing import Literal

from grandopt.tuning.study.shared_builds import SharedBuilds
from grandopt.workflows.building.request import BuildResult, Variant
from grandopt.workflows.memo.earlier_runs import EarlierRuns


class OtherMachines:
    """Who builds which candidate of an agent; see `Sharing`.

    What others built is taken from the store, with what they found when they verified it on a machine of the
    same kind; on another kind it is verified here. That a build fails is known to all for whom it does.
    """

    def __init__(self, builds: SharedBuilds, earlier: EarlierRuns) -> None:
        self._builds = builds
        self._earlier = earlier

    def begin(self, variant: Variant) -> Literal["ours", "theirs"] | BuildResult:
        """See Sharing."""
        key = self._earlier.key(variant)
        reason = self._builds.refused(key)
        if reason is not None:
            return BuildResult(variant, "failed", reason, 0.0)
        if not self._builds.take(key):
            return "theirs"
        # Asked only now: whoever had the claim until a moment ago has put the build into the store before.
        built = self._earlier.built(variant)
        if built is None:
            return "ours"
        self._builds.release(key)
        return BuildResult(variant, built.status, built.reason, 0.0)

    def end(self, result: BuildResult) -> None:
        """See Sharing."""
        key = self._earlier.key(result.variant)
        if result.status == "failed" and result.reason is not None and not result.crashed:
            self._builds.refuse(key, result.reason)
        self._builds.release(key)
