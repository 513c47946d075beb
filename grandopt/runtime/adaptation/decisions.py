"""What was decided, on what evidence: the log of adaptive tuning."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from grandopt.runtime.adaptation.trial import Effect, Verdict

_log = logging.getLogger(__name__)

KEPT = 256
"""Decisions that are kept in memory."""


@dataclass(frozen=True)
class Decision:
    """One decision. `at_ns` is the clock's time; `knob` is None where it concerns all of them.

    `before` and `after` are the setting's values, equal where it was left or put back; `tried` is the value
    of the trial. `spent_s` is the time in the trial's setting, `detail` says more in words.
    """

    at_ns: int
    service: str
    knob: str | None
    before: int | None
    after: int | None
    tried: int | None
    verdict: Verdict
    effect: Effect | None = None
    spent_s: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        parts = [self.service]
        if self.knob is not None:
            parts.append(f"{self.knob} {self.before}" + ("" if self.tried is None else f" -> {self.tried}"))
        line = f"{', '.join(parts)}: {self.verdict}"
        if self.effect is not None:
            effect = self.effect
            tail = "" if effect.p99 is None else f", p99 {effect.p99:+.1%}"
            line += (
                f" (gain {effect.gain:+.1%}, 99 % interval {effect.low:+.1%} to {effect.high:+.1%}{tail}, "
                f"{effect.pairs} pairs, {self.spent_s:.2f} s in the trial; "
                f"before {effect.before.figures()}, tried {effect.tried.figures()})"
            )
        return f"{line}; {self.detail}" if self.detail else line


class DecisionLog:
    """The last decisions; each also goes to the log of this module when it is made."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: deque[Decision] = deque(maxlen=kept)
        self._made = 0

    def add(self, decision: Decision) -> None:
        """Keep and log it."""
        self._made += 1
        self._kept.append(decision)
        _log.info("%s", decision)

    def last(self) -> tuple[Decision, ...]:
        """Those kept, the oldest first."""
        return tuple(self._kept)

    @property
    def made(self) -> int:
        """How many there were since the beginning."""
        return self._made
