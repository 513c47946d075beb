"""What a pool of build processes asks of those who share the builds."""

from __future__ import annotations

from typing import Literal, Protocol

from grandopt.workflows.building.request import BuildResult, Variant


class Sharing(Protocol):
    """Says of each build whether it is to be made here. Called by several threads, by one at a time.

    Raises StorageError where the others cannot be asked any more.
    """

    def begin(self, variant: Variant) -> Literal["ours", "theirs"] | BuildResult:
        """Whether this build is now ours to make, or in the making elsewhere; or what others made of it."""
        ...

    def end(self, result: BuildResult) -> None:
        """Tell the others what became of a build that was ours."""
        ...
