"""What a configuration is judged by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from grandopt.config.schema import Goal
from grandopt.errors import ConfigError, TuningError
from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.result import Infeasible

HIGHER_IS_BETTER = ("throughput", "goodput")


class OptimizationGoal(StrEnum):
    """What is wanted; the values are the words of `grandopt tune --goal`.

    MINIMIZE_LATENCY is about `latency_p99_us`, and about `latency_p50_us` where the evaluator gives no p99.
    BALANCED is the geometric mean of latency, throughput and memory, each as a fraction of the default
    configuration's, of those that the evaluator gives (at least two).
    """

    MINIMIZE_LATENCY = "latency"
    MAXIMIZE_THROUGHPUT = "throughput"
    MINIMIZE_MEMORY = "memory"
    BALANCED = "balanced"


def goal_of(goal: OptimizationGoal | str) -> OptimizationGoal:
    """The goal, also by its value ("latency") or its name; raises ConfigError for any other word."""
    word = str(goal)
    for known in OptimizationGoal:
        if word.lower() in (known.value, known.name.lower()):
            return known
    raise ConfigError(f"there is no goal {word!r}; known: {', '.join(get_args(Goal))}")


def goals_of(goal: OptimizationGoal | str | Iterable[OptimizationGoal | str]) -> tuple[OptimizationGoal, ...]:
    """One goal or several; raises ConfigError for none, for a word that is none, and for one named twice."""
    given = [goal] if isinstance(goal, str) else list(goal)
    goals = tuple(goal_of(item) for item in given)
    if not goals:
        raise ConfigError("there is no goal; give at least one")
    if len(set(goals)) != len(goals):
        raise ConfigError(f"a goal is named twice: {', '.join(goals)}")
    return goals


def better_ratio(figure: str, base: float, other: float) -> float:
    """How many times better `other` is than `base`, above 1 where it is better."""
    return other / base if figure in HIGHER_IS_BETTER else base / other


@dataclass(frozen=True)
class Scoring:
    """Goals, and the figures that they are about: one score per goal, lower is better.

    `reference` holds the figures of the default configuration, which BALANCED compares with; the first
    figures at all say whether latency means p99 or the median.
    """

    goals: tuple[OptimizationGoal, ...]
    latency: str
    reference: ServingFigures

    @classmethod
    def by(cls, goals: Sequence[OptimizationGoal], reference: ServingFigures) -> Scoring:
        """The scoring that `reference` makes possible; raises TuningError where a goal lacks its figure."""
        latency = "latency_p50_us" if reference.get("latency_p99_us") is None else "latency_p99_us"
        made = cls(tuple(goals), latency, reference)
        for goal in made.goals:
            made._figures(goal, reference)
        return made

    def scores(self, figures: ServingFigures) -> tuple[float, ...]:
        """One score per goal. Raises TuningError for a missing figure, Infeasible for one that is 0."""
        return tuple(self._score(goal, figures) for goal in self.goals)

    def _score(self, goal: OptimizationGoal, figures: ServingFigures) -> float:
        values = self._figures(goal, figures)
        for name, value in values.items():
            if value == 0:
                raise Infeasible(Reason(ReasonCode.FAILED, f"{name} is 0, which no goal can judge"))
        if goal is not OptimizationGoal.BALANCED:
            ((name, value),) = values.items()
            return 1.0 / value if name in HIGHER_IS_BETTER else value
        references = self._figures(goal, self.reference)
        parts = [better_ratio(name, value, references[name]) for name, value in values.items()]
        return math.prod(parts) ** (1.0 / len(parts))

    def _figures(self, goal: OptimizationGoal, figures: ServingFigures) -> dict[str, float]:
        match goal:
            case OptimizationGoal.MINIMIZE_LATENCY:
                names: tuple[str, ...] = (self.latency,)
            case OptimizationGoal.MAXIMIZE_THROUGHPUT:
                names = ("throughput",)
            case OptimizationGoal.MINIMIZE_MEMORY:
                names = ("memory_mb",)
            case OptimizationGoal.BALANCED:
                wanted = (self.latency, "throughput", "memory_mb")
                names = tuple(name for name in wanted if self.reference.get(name) is not None)
                if len(names) < 2:
                    names = wanted
        found = {name: figures.get(name) for name in names}
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise TuningError(
                f"the goal {goal.value!r} is judged by {', '.join(names)}, and the evaluator gave "
                f"{', '.join(figures.given) or 'nothing'}: let it also return {', '.join(missing)}"
            )
        return {name: value for name, value in found.items() if value is not None}
