"""What a study found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from grandopt.config.schema import Goal
from grandopt.reason import Reason, reason_fields
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.space import Choice

State = Literal["complete", "pruned", "infeasible"]
Stop = Literal["trials", "budget", "exhausted"]

Prune = Callable[[float], bool]
"""Given the score of a short first measurement, whether the choice has already lost and is to be left."""


class Infeasible(Exception):  # noqa: N818 - a verdict on a choice, not an error of the study
    """Raised by an evaluation: the choice cannot be used (refused, failed), for a `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


@dataclass(frozen=True)
class Trial:
    """One evaluated choice.

    `number` counts in the study, with gaps where a trial was interrupted. `score` and `figures` are those
    of the short measurement for a pruned trial, None for an infeasible one, which has a `reason` instead.
    `host` is the name of the machine that evaluated it, None in studies of earlier versions.
    """

    number: int
    choice: Choice
    state: State
    score: float | None
    figures: TrialFigures | None
    reason: Reason | None
    seconds: float
    host: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {
            "number": self.number,
            "choice": self.choice.to_json(),
            "state": self.state,
            "score": self.score,
            "figures": None if self.figures is None else self.figures.to_json(),
            **reason_fields(self.reason),
            "seconds": self.seconds,
            "host": self.host,
        }


@dataclass(frozen=True)
class TuningResult:
    """All trials of the study so far, by number, and the best complete one (None where there is none).

    `reused` counts the trials that this run found in the study instead of evaluating them. `importance`
    says how much of the difference each parameter explains, None where too few trials are complete.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    goal: Goal
    stopped_by: Stop
    reused: int = 0
    importance: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {
            "goal": self.goal,
            "stopped_by": self.stopped_by,
            "reused": self.reused,
            "best": None if self.best is None else self.best.number,
            "importance": self.importance,
            "trials": [trial.to_json() for trial in self.trials],
        }
