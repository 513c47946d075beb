"""One setting tried against the one in force, window by window in turns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from grandopt.runtime.adaptation.evidence import Evidence
from grandopt.runtime.adaptation.paired import against_neighbours, interval

GAIN = 0.01
"""A change that gains less than this is not worth making."""
HARM = 0.10
"""A window that is worse by this, or by `NOISES` times the usual spread, ends the trial at once."""
NOISES = 4.0
TAIL = 0.10
"""How much longer the p99 may become in a change that is kept."""
TAIL_HARM = math.log(2.0)
FEWEST, MOST = 4, 12
"""Pairs of windows in a trial."""
PROMISING, LONGEST = 0.03, 48
"""A trial whose mean gain is at least this goes on for so many pairs: it costs nothing, but to be sure."""
ANSWERS = 50
"""Answers that a window needs to be judged."""
PILED, LOOKS = 8.0, 3
"""Batches more than usual that wait at so many looks in a row, no fewer each time, are a backlog. One that a
short interruption of the machine left behind has become smaller by the next look."""


class Verdict(StrEnum):
    """How a trial ended."""

    KEPT = "kept"
    HARMFUL = "undone: one window of it was harmful"
    SLOWER_TAIL = "undone: p99 became worse"
    WORSE = "undone: worse"
    NO_EFFECT = "undone: no gain"
    UNCLEAR = "undone: the effect is within the noise"
    QUIET = "ended: too little traffic to judge"
    CHANGED = "ended: the workload changed"
    INTERFERED = "ended: somebody else changed the setting"
    REFUSED = "ended: the setting was refused"
    WITHDRAWN = "undone: worse than before after it was kept"
    WORKLOAD = "the workload changed: every setting may be tried anew"
    SETTLED = "left alone: no value tried had a gain"


@dataclass(frozen=True)
class Effect:
    """What a trial found: `gain` with its 99 % interval and the change of p99, as fractions; pairs of
    windows.

    `before` and `tried` are the last windows of either setting. Gains are of the share of requests answered
    in time over their mean latency (see `Evidence.score`).
    """

    gain: float
    low: float
    high: float
    p99: float | None
    pairs: int
    before: Evidence
    tried: Evidence


class Trial:
    """Collects windows in the order base, tried, base, tried, …, base, and says when it is decided."""

    def __init__(self, first: Evidence, noise: float, tail_noise: float) -> None:
        """`first` is a window of the setting in force, the others the usual spread of scores and of tails."""
        self._base = [first]
        self._tried: list[Evidence] = []
        self._harm = max(HARM, NOISES * noise)
        self._tail_harm = max(TAIL_HARM, NOISES * tail_noise)
        self._piled: list[int] = []

    def piles_up(self, depth: int) -> bool:
        """Whether a backlog grows, by the rows that wait now, in the new setting; then its window is harmful.

        Where all of the windows before were saturated, what waits says nothing about the setting.
        """
        usual = max(max(window.before.depth, window.after.depth) for window in self._base)
        batch = max(window.rows_per_batch or 1.0 for window in self._base)
        if self._saturated or depth <= usual + PILED * batch or (self._piled and depth < self._piled[-1]):
            self._piled.clear()
        else:
            self._piled.append(depth)
        return len(self._piled) >= LOOKS

    def tried(self, window: Evidence) -> Verdict | None:
        """A window of the new setting; a verdict ends the trial at once."""
        if len(self._piled) >= LOOKS or stalled(window, self.base_rate):
            return Verdict.HARMFUL
        if not _judgeable(window):
            return Verdict.QUIET
        self._tried.append(window)
        before = self._base[-1]
        if self._score(window) - self._score(before) < -self._harm:
            return Verdict.HARMFUL
        if not self._saturated and tail(window) - tail(before) > self._tail_harm:
            return Verdict.HARMFUL
        return None

    def base(self, window: Evidence) -> Verdict | None:
        """A window of the setting in force, after one of the new; a verdict ends the trial."""
        if not _judgeable(window):
            return Verdict.QUIET
        self._base.append(window)
        gains = self._gains()
        if len(gains) < FEWEST:
            return None
        low, high = interval(gains)
        mean = sum(gains) / len(gains)
        if low > 0 and mean >= GAIN:
            return Verdict.SLOWER_TAIL if self._tail_is_worse() else Verdict.KEPT
        if high < 0:
            return Verdict.WORSE
        if high < GAIN:
            return Verdict.NO_EFFECT
        return Verdict.UNCLEAR if len(gains) >= (LONGEST if self.promising else MOST) else None

    def effect(self) -> Effect | None:
        """What is known so far; None before the first window of the new setting."""
        if not self._tried:
            return None
        gains = self._gains() or [self._score(self._tried[-1]) - self._score(self._base[-1])]
        low, high = interval(gains)
        tails = self._tails()
        return Effect(
            math.expm1(sum(gains) / len(gains)),
            math.expm1(low) if low > -math.inf else -1.0,
            math.expm1(high) if high < 700 else math.inf,
            math.expm1(sum(tails) / len(tails)) if tails else None,
            len(gains),
            self._base[-1],
            self._tried[-1],
        )

    @property
    def promising(self) -> bool:
        """Whether the new setting looks better so far."""
        gains = self._gains()
        return bool(gains) and sum(gains) / len(gains) >= PROMISING

    @property
    def base_rate(self) -> float:
        """Answers a second with the setting in force, in its last window."""
        return self._base[-1].rate

    def worse_than_base(self, window: Evidence) -> bool:
        """Whether a window after the change is worse than before it, beyond the noise."""
        before = sum(map(self._score, self._base)) / len(self._base)
        return _judgeable(window) and self._score(window) < before - self._harm

    @property
    def _saturated(self) -> bool:
        """Whether the setting in force never kept up: then latencies tell of the backlog, not of settings."""
        return all(window.saturated for window in self._base)

    def _score(self, window: Evidence) -> float:
        """How good the service was in a window, as a logarithm."""
        score = math.log(window.rate) if self._saturated else window.score
        assert score is not None, "a window without answers is not judged"
        return score

    def _gains(self) -> list[float]:
        return against_neighbours([*map(self._score, self._base)], [*map(self._score, self._tried)])

    def _tails(self) -> list[float]:
        return against_neighbours([*map(tail, self._base)], [*map(tail, self._tried)])

    def _tail_is_worse(self) -> bool:
        tails = self._tails()
        return not self._saturated and sum(tails) / len(tails) > TAIL and interval(tails)[0] > 0


def stalled(window: Evidence, rate: float) -> bool:
    """Whether less than half as many answers came as at `rate` a second, if those would be enough."""
    expected = rate * window.seconds
    return expected >= 2 * ANSWERS and window.answered < expected / 2


def _judgeable(window: Evidence) -> bool:
    return window.answered >= ANSWERS


def tail(window: Evidence) -> float:
    """The logarithm of the p99, or of the highest quantile that so many answers tell."""
    quantile = window.latency.quantile(0.99 if window.answered >= 662 else 0.9)
    assert quantile is not None, "a window without answers is not judged"
    return math.log(quantile)
