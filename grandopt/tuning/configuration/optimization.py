"""The search for the best configuration, as its list of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.confirmation import FEWEST_ROUNDS, confirmed, one_round
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.goals import OptimizationGoal
from grandopt.tuning.configuration.result import (
    ConfigurationResult,
    ConfigurationTrial,
    Confirmation,
    Stop,
)
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.space import Configuration, key_of
from grandopt.tuning.configuration.verdict import judged
from grandopt.tuning.study.configurations import ConfigurationStudy
from grandopt.tuning.study.opening import opened_study

Measure = Callable[[Configuration], ServingFigures]

MOST_RESERVED = 0.5
"""Share of the budget that is kept for measuring the best again, at most."""


@dataclass(frozen=True)
class SearchSettings:
    """How long is searched, and how sure the answer is.

    `trials` configurations are evaluated, as long as `budget_s` seconds last (None: without end). The best
    `finalists` are measured again in turn with the default, `repeats` times each. Raises ConfigError for
    numbers that cannot be.
    """

    trials: int = 40
    budget_s: float | None = None
    repeats: int = 6
    finalists: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"trials must be at least 1 (the default configuration), got {self.trials}")
        if self.budget_s is not None and not self.budget_s > 0:
            raise ConfigError(f"budget_s must be above 0, got {self.budget_s}")
        if self.repeats < FEWEST_ROUNDS:
            raise ConfigError(
                f"repeats must be at least {FEWEST_ROUNDS}, or nothing can be shown; got {self.repeats}"
            )
        if self.finalists < 1:
            raise ConfigError(f"finalists must be at least 1, got {self.finalists}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")


def search(
    space: SearchSpace,
    measure: Measure,
    *,
    goals: tuple[OptimizationGoal, ...],
    constraints: tuple[Constraint, ...] = (),
    settings: SearchSettings | None = None,
    storage: str | None = None,
    name: str = "configuration",
    resume: bool = True,
    clock: Callable[[], float] = time.monotonic,
    on_trial: Callable[[ConfigurationTrial], None] | None = None,
    on_stop: Callable[[ConfigurationResult], None] | None = None,
) -> ConfigurationResult:
    """Search for the best configuration of `space` (see `ConfigurationManager.optimize_configuration`).

    `measure` gives the figures of one configuration, or raises Infeasible. When anything else leaves it, an
    interrupt included, `on_stop` hears what was found until then before that passes through.
    """
    settings = settings or SearchSettings()
    with opened_study(
        storage, name, space, goals, constraints, seed=settings.seed, resume=resume, clock=clock
    ) as study:
        run = _Search(study, goals, constraints, settings, clock)
        completed = False
        try:
            stopped = run.explore(measure, on_trial)
            confirmation = run.confirm(measure) if len(goals) == 1 else None
            completed = True
        finally:
            if not completed and on_stop is not None:
                on_stop(run.result("interrupted", None))
        return run.result(stopped, confirmation)


class _Search:
    """One call's work on a study."""

    def __init__(
        self,
        study: ConfigurationStudy,
        goals: tuple[OptimizationGoal, ...],
        constraints: tuple[Constraint, ...],
        settings: SearchSettings,
        clock: Callable[[], float],
    ) -> None:
        self._study = study
        self._goals = goals
        self._constraints = constraints
        self._settings = settings
        self._clock = clock
        self._start = clock()
        self._done: set[int] = set()

    def explore(self, measure: Measure, on_trial: Callable[[ConfigurationTrial], None] | None) -> Stop:
        """Evaluate configurations until the trials or the time are used up, or none is left."""
        while True:
            known = self._study.trials
            if len(known) >= self._settings.trials:
                return "trials"
            if known and self._left(known) <= 0:
                return "budget"
            trial = self._study.evaluate_next(measure)
            if trial is None:
                return "exhausted"
            self._done.add(trial.number)
            if on_trial is not None:
                on_trial(trial)

    def confirm(self, measure: Measure) -> Confirmation | None:
        """Measure the best again, in turn with the default; None where there is nothing to tell apart.

        Where the default does not fit and neither does any of the best, now that they are looked at closely,
        the next best are measured.
        """
        trials = self._study.trials
        scoring = self._study.scoring
        if not trials or scoring is None:
            return None
        default = trials[0] if trials[0].figures is not None else None
        ranked = sorted(
            (trial for trial in trials[1:] if trial.state == "feasible" and trial.scores is not None),
            key=lambda trial: (trial.scores, trial.number),
        )
        confirmation = None
        for first in range(0, len(ranked), self._settings.finalists):
            finalists = ranked[first : first + self._settings.finalists]
            confirmation = self._confirmed(measure, finalists, default)
            if judged(trials, confirmation, scoring, self._goals).best is not None or self._out_of_time():
                break
        return confirmation

    def result(self, stopped: Stop, confirmation: Confirmation | None) -> ConfigurationResult:
        """What the study holds now."""
        trials = self._study.trials
        judgement = judged(trials, confirmation, self._study.scoring, self._goals)
        return ConfigurationResult(
            goals=self._goals,
            constraints=self._constraints,
            trials=trials,
            best=judgement.best,
            verdict=judgement.verdict,
            reason=judgement.reason,
            pareto=judgement.pareto,
            confirmation=confirmation,
            stopped_by=stopped,
            reused=sum(trial.number not in self._done for trial in trials),
            importance=self._study.importance(),
        )

    def _confirmed(
        self, measure: Measure, finalists: Sequence[ConfigurationTrial], default: ConfigurationTrial | None
    ) -> Confirmation | None:
        scoring = self._study.scoring
        assert scoring is not None

        def judgeable(configuration: Configuration) -> ServingFigures:
            figures = measure(configuration)
            scoring.scores(figures)
            return figures

        left = [trial for trial in (default, *finalists) if trial is not None]
        while True:
            keys = [key_of(trial.configuration) for trial in left]
            rounds = self._study.rounds(keys)
            if len(rounds) >= self._settings.repeats or self._out_of_time():
                break
            figures, failed = one_round([trial.configuration for trial in left], len(rounds), judgeable)
            self._study.add_round(figures)
            # One that worked and now does not is no answer.
            left = [trial for trial in left if key_of(trial.configuration) not in failed]
            if not left:
                return None
        if not rounds:
            return None
        default = default if default in left else None
        others = [trial for trial in left if trial is not default]
        return confirmed(rounds, others, default, scoring, self._constraints, self._settings.seed)

    def _left(self, known: Sequence[ConfigurationTrial]) -> float:
        """Seconds that the search may still take: what is needed to measure the best again is kept."""
        budget = self._settings.budget_s
        if budget is None:
            return 1.0
        one = sum(trial.seconds for trial in known) / len(known)
        again = (
            one * self._settings.repeats * (1 + self._settings.finalists) if len(self._goals) == 1 else 0.0
        )
        return self._start + budget - min(again, MOST_RESERVED * budget) - self._clock()

    def _out_of_time(self) -> bool:
        budget = self._settings.budget_s
        return budget is not None and self._clock() - self._start >= budget
