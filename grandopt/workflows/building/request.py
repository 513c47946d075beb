"""What is asked of the build processes, and what they answer. Neither torch nor an engine is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.measurement.wire.codec import Request
from grandopt.reason import Reason

BuildStatus = Literal["verified", "refused", "failed", "unavailable", "not measured"]


Variant = tuple[str, int]
"""A candidate's label and a number of threads."""


@dataclass(frozen=True)
class BuildAnswer:
    """What became of a build, and why it is of no use where it is not."""

    status: BuildStatus
    reason: Reason | None


@dataclass(frozen=True)
class BuildRequest(Request[BuildAnswer], kind="build"):
    """Build and verify the candidate called `label` of the agent handed over in `folder`, for `threads`.

    It is put into the `store`, whose size is limited to `limit_bytes`.
    """

    folder: Path
    label: str
    threads: int
    store: Path
    limit_bytes: int | None


@dataclass(frozen=True)
class BuildResult:
    """How one build ended; "verified" and "refused" ones lie in the store. It never began in 0 `seconds`."""

    variant: Variant
    status: BuildStatus
    reason: Reason | None
    seconds: float
    crashed: bool = False
    """Whether its process ended, which another time it may not."""


@dataclass(frozen=True)
class Deadline:
    """When building stops (monotonic seconds): at `enough`, or while nothing is verified yet, at `last`.

    `certain` is built and finished whatever the time: a busy machine takes seconds from a budget, and not the
    one candidate that is likely to be worth it. `given_s` is how long building has in all, until `enough`.
    """

    enough: float
    last: float
    certain: Variant | None = None
    given_s: float = 0.0

    def until(self, usable: bool) -> float:
        """The moment that holds when a usable candidate is there, or is not."""
        return self.enough if usable else self.last


SLOW_S = 8.0
"""A build that is expected to take longer is slow: others are kept waiting by it."""


@dataclass(frozen=True)
class Expected:
    """How long a build is expected to take, and whether builds of its kind were `seen` on this machine."""

    seconds: float
    seen: bool = False

    @property
    def slow(self) -> bool:
        """Whether it would keep others waiting."""
        return self.seconds > SLOW_S
