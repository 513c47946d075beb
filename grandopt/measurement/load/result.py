"""What became of the requests of one run: raw moments, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np

from grandopt.measurement.statistics import percentile, too_few
from grandopt.signature import Array

Kind = Literal["open loop", "closed loop", "one by one"]

MISSING = 0.01
"""The share of what was due that may be missing at the end of a run where nothing piles up."""


class Outcome(IntEnum):
    """What became of a request."""

    ANSWERED = 1
    OVERLOADED = 2
    """Refused: too many wait."""
    DEADLINE = 3
    """Refused or given up: its deadline cannot be met."""
    FAILED = 4
    LOST = 5
    """No answer within the time of grace, or not even begun."""


@dataclass(frozen=True)
class LoadResult:
    """One run. Moments are int64 nanoseconds from its beginning, one per request, in the order of `due_ns`.

    `due_ns` is when the request was to be made: latency counts from there, so that a target that stalls shows
    in every request that was due meanwhile ("coordinated omission"). In a closed loop that is when it was
    made. `started_ns` is when the target was called, `ended_ns` when the answer was there; -1 if never.
    `outcomes` holds an Outcome each. Figures are of the requests due in `window_ns` (from, to), which leaves
    out the warm-up. `rate` and `callers` are what was asked for, where it was; `errors` counts the failed by
    the class of what they raised, `first_error` is one of them.
    """

    kind: Kind
    due_ns: Array
    started_ns: Array
    ended_ns: Array
    outcomes: Array
    priorities: Array
    window_ns: tuple[int, int]
    deadline_ns: int | None = None
    rate: float | None = None
    callers: int | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    first_error: str | None = None

    @property
    def seconds(self) -> float:
        """How long the window is."""
        return (self.window_ns[1] - self.window_ns[0]) / 1e9

    @cached_property
    def counted(self) -> Array:
        """Whether each request was due within the window."""
        return np.asarray((self.due_ns >= self.window_ns[0]) & (self.due_ns < self.window_ns[1]))

    def count(self, outcome: Outcome | None = None, priority: int | None = None) -> int:
        """How many requests of the window had this outcome (any) and this priority (any)."""
        return int(self._chosen(outcome, priority).sum())

    def latency_ns(self, priority: int | None = None) -> Array:
        """From due to answered, of the window's answered requests."""
        chosen = self._chosen(Outcome.ANSWERED, priority)
        return self.ended_ns[chosen] - self.due_ns[chosen]

    def refusal_ns(self) -> Array:
        """From called to refused: how soon the refused of the window were told."""
        chosen = self._chosen(Outcome.OVERLOADED) | self._chosen(Outcome.DEADLINE)
        return self.ended_ns[chosen] - self.started_ns[chosen]

    def lateness_ns(self) -> Array:
        """From due to called, of the window's requests that were begun.

        In an open loop that is the generator's own delay, and what the target does in the generator's thread;
        one by one it is the time that a request waits for those in front of it.
        """
        chosen = self.counted & (self.started_ns >= 0)
        return self.started_ns[chosen] - self.due_ns[chosen]

    def percentile_us(self, percent: float, priority: int | None = None) -> float | None:
        """The percentile of the latency in µs, None where there are too few answers for it."""
        return _percentile_us(self.latency_ns(priority), percent)

    def unavailable(self, percent: float, priority: int | None = None) -> str | None:
        """Why there is no such percentile, or None where there is one."""
        return too_few(self.count(Outcome.ANSWERED, priority), percent)

    def lateness_us(self, percent: float) -> float | None:
        """The percentile of the lateness in µs, None where there are too few requests for it."""
        return _percentile_us(self.lateness_ns(), percent)

    @property
    def offered(self) -> float:
        """Requests a second that were due."""
        return self.count() / self.seconds

    @property
    def achieved(self) -> float:
        """Answers a second that came within the window, whenever their requests were due."""
        return self._answers_within() / self.seconds

    def goodput(self, priority: int | None = None) -> float:
        """Like `achieved`, of the answers that came within the deadline; all of them without one."""
        chosen = (self.outcomes == Outcome.ANSWERED) & self._within(self.ended_ns)
        if priority is not None:
            chosen &= self.priorities == priority
        if self.deadline_ns is not None:
            chosen &= self.ended_ns - self.due_ns <= self.deadline_ns
        return float(chosen.sum()) / self.seconds

    @property
    def kept_up(self) -> bool:
        """Whether requests were made when they were due: at the window's end almost none was overdue.

        Where not, the figures are of less load than was asked for. One by one nothing is made before its
        turn, and a closed loop asks for no moment: both always keep up.
        """
        if self.kind != "open loop":
            return True
        return _almost_all(int(self._within(self.started_ns).sum()), self.count())

    @property
    def sustained(self) -> bool:
        """Whether answers came as fast as requests: at the window's end almost none was outstanding.

        "Almost" is at most 1 % of the requests of the window, or as many as its square root where that is
        more. Refused, failed and lost ones are none that were answered.
        """
        return _almost_all(self._answers_within(), self.count())

    def _chosen(self, outcome: Outcome | None, priority: int | None = None) -> Array:
        chosen = self.counted
        if outcome is not None:
            chosen = chosen & (self.outcomes == outcome)
        return chosen if priority is None else chosen & (self.priorities == priority)

    def _answers_within(self) -> int:
        return int(((self.outcomes == Outcome.ANSWERED) & self._within(self.ended_ns)).sum())

    def _within(self, moments: Array) -> Array:
        return np.asarray((moments >= self.window_ns[0]) & (moments < self.window_ns[1]))


def _percentile_us(ns: Array, percent: float) -> float | None:
    return None if too_few(ns.size, percent) is not None else percentile(ns, percent) / 1e3


def _almost_all(done: int, due: int) -> bool:
    return due - done <= max(MISSING * due, math.sqrt(due))
