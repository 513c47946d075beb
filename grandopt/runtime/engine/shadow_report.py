"""What a shadow has found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from grandopt.runtime.engine.proportion import interval
from grandopt.runtime.engine.version import Origin
from grandopt.runtime.histogram import LatencyCounts

CONFIDENCE = 0.99


@dataclass(frozen=True)
class SideBySide:
    """Times of calls on the same inputs by the same thread, the two in turns, which of them first in turns.

    `live` and `candidate` hold calls with one observation each; `live_row_ns` and `candidate_row_ns` are the
    mean times per observation in batches of about `rows` observations, None before the first.
    """

    live: LatencyCounts
    candidate: LatencyCounts
    rows: float | None
    live_row_ns: float | None
    candidate_row_ns: float | None


@dataclass(frozen=True)
class ShadowReport:
    """What is known of a candidate beside the agent that answers.

    Of the `seen` observations that were answered since `against` answers, `compared` were drawn at random and
    given to the candidate, too; it would have acted differently on `disagreed` of them. `relative_l2` is the
    size of the errors over that of the live answers, for each output of floats. On `failed` observations the
    candidate raised; `error` is the last such error. `dropped` were drawn while the candidate was busy.
    `replaced` says how often another version began to answer, at which all counts began anew.
    """

    agent: str
    candidate: Origin
    against: Origin
    active: bool
    share: float
    seen: int
    compared: int
    disagreed: int
    relative_l2: dict[str, float]
    failed: int
    error: str | None
    dropped: int
    replaced: int
    times: SideBySide

    @property
    def rate(self) -> float | None:
        """The share of the compared observations on which it would have acted differently; None without
        any."""
        return self.disagreed / self.compared if self.compared else None

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 99 % interval of Clopper and Pearson of that share among all observations that were seen.

        Computed when it is first asked for, which takes up to some hundredths of a second for millions.
        """
        return interval(self.disagreed, self.compared, CONFIDENCE)
