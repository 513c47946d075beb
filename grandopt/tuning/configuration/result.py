"""What a search over configurations found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from grandopt.errors import TuningError
from grandopt.reason import Reason, reason_fields
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.goals import OptimizationGoal
from grandopt.tuning.configuration.space import Configuration

RESULT_VERSION = 1
"""Of the document that `to_json` makes. Fields are only added within a version."""

TrialState = Literal["feasible", "violating", "infeasible"]
Verdict = Literal["better", "default_kept", "default_unfit", "none_fit", "several_goals"]
Stop = Literal["trials", "budget", "exhausted", "interrupted"]


@dataclass(frozen=True)
class ConfigurationTrial:
    """One configuration and what came of it, evaluated once.

    "feasible": it keeps to all constraints. "violating": it was measured, and `violations` says in words
    what it breaks. "infeasible": the evaluator refused it, for `reason`, and there are no figures. `scores`
    has one number for each goal, lower is better. `number` counts in the study, with gaps where a trial was
    interrupted.
    """

    number: int
    configuration: Configuration
    state: TrialState
    figures: ServingFigures | None
    scores: tuple[float, ...] | None
    violations: tuple[str, ...]
    reason: Reason | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return {
            "number": self.number,
            "configuration": self.configuration,
            "state": self.state,
            "figures": None if self.figures is None else self.figures.to_json(),
            "scores": None if self.scores is None else list(self.scores),
            "violations": list(self.violations),
            **reason_fields(self.reason),
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Finalist:
    """A configuration that was measured again, beside the default.

    `ratio` is how many times better it is than the default by the goal (paired by rounds), with its interval
    at `confidence`; all None where the default could not be measured. `figures` are medians over the rounds,
    and `violations` the constraints that those break.
    """

    trial: int
    figures: ServingFigures
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    violations: tuple[str, ...]

    @property
    def shown_better(self) -> bool:
        """Whether the whole interval is above 1."""
        return self.low is not None and self.low > 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {
            "trial": self.trial,
            "figures": self.figures.to_json(),
            "ratio": self.ratio,
            "interval": None if self.low is None else [self.low, self.high],
            "confidence": self.confidence,
            "violations": list(self.violations),
        }


@dataclass(frozen=True)
class Confirmation:
    """The finalists, the default among them where it works, measured again in turn for `rounds` rounds."""

    rounds: int
    finalists: tuple[Finalist, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {"rounds": self.rounds, "finalists": [finalist.to_json() for finalist in self.finalists]}


@dataclass(frozen=True)
class ConfigurationResult:
    """All trials of the study so far, and what follows from them.

    `best` keeps to all constraints. `verdict` says how it was chosen: "better": it beat the default when
    both were measured again, with its whole interval; "default_kept": nothing was shown to be better, and
    the default is the answer, for `reason`; "default_unfit": the default breaks a constraint or does not
    work, and this is the best that does; "none_fit": nothing does, and there is no best; "several_goals":
    there is no one best, and `pareto` holds the trials that no other beats in all goals at once. Those are of
    one evaluation each. With one goal `pareto` is empty.

    `reused` counts the trials that were found in the study. `importance` says how much of the difference
    between scores each parameter explains, None where there are several goals or too few trials.
    """

    goals: tuple[OptimizationGoal, ...]
    constraints: tuple[Constraint, ...]
    trials: tuple[ConfigurationTrial, ...]
    best: ConfigurationTrial | None
    verdict: Verdict
    reason: Reason | None
    pareto: tuple[ConfigurationTrial, ...]
    confirmation: Confirmation | None
    stopped_by: Stop
    reused: int
    importance: dict[str, float] | None

    @property
    def configuration(self) -> Configuration:
        """The values to use; raises TuningError, saying why, where there is no one best."""
        if self.best is None:
            raise TuningError(f"there is no best configuration: {self.reason}")
        return dict(self.best.configuration)

    @property
    def default(self) -> ConfigurationTrial | None:
        """The trial of the default configuration, None where it was not reached."""
        return self.trials[0] if self.trials else None

    def to_json(self) -> dict[str, Any]:
        """A document of its own, of version `RESULT_VERSION`."""
        return {
            "version": RESULT_VERSION,
            "goals": [goal.value for goal in self.goals],
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "best": None if self.best is None else self.best.number,
            "verdict": self.verdict,
            **reason_fields(self.reason),
            "pareto": [trial.number for trial in self.pareto],
            "confirmation": None if self.confirmation is None else self.confirmation.to_json(),
            "stopped_by": self.stopped_by,
            "reused": self.reused,
            "importance": self.importance,
            "trials": [trial.to_json() for trial in self.trials],
        }
