"""A persistent study of configurations, in which none is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from grandopt.errors import TuningError
from grandopt.reason import Reason, reason_of
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.goals import OptimizationGoal, Scoring
from grandopt.tuning.configuration.result import ConfigurationTrial
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.space import Configuration
from grandopt.tuning.owner import this_process
from grandopt.tuning.result import Infeasible
from grandopt.tuning.study.configuration_sampler import FAILED, ConfigurationSampler, suggest
from grandopt.tuning.study.giving_back import given_back
from grandopt.tuning.study.log_suppression import no_experimental_warnings
from grandopt.tuning.study.records import left_behind

FEWEST_FOR_IMPORTANCE = 8

Measure = Callable[[Configuration], ServingFigures]
Rounds = list[dict[str, dict[str, float]]]
"""Figures of several configurations measured in turn: for each round those of each, by its key."""


class ConfigurationStudy:
    """One search in its storage. Ownership: one process at a time works on it. `opening` makes one."""

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        goals: tuple[OptimizationGoal, ...],
        constraints: tuple[Constraint, ...],
        seed: int,
        clock: Callable[[], float],
    ) -> None:
        self._study = study
        self._space = space
        self._goals = goals
        self._constraints = constraints
        self._clock = clock
        self._sampler = ConfigurationSampler(space, seed)
        study.sampler = self._sampler
        self._free_abandoned()

    @property
    def trials(self) -> tuple[ConfigurationTrial, ...]:
        """All evaluated configurations, by number: the default is the first."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return tuple(_trial_of(frozen) for frozen in self._study.get_trials(deepcopy=False, states=states))

    @property
    def scoring(self) -> Scoring | None:
        """How scores are made, from the first figures that there are; None before."""
        trials = self.trials
        figures = next((trial.figures for trial in trials if trial.figures is not None), None)
        return None if figures is None else self._scoring(figures, trials)

    def evaluate_next(self, measure: Measure) -> ConfigurationTrial | None:
        """Propose a configuration that is new, measure it, and keep what came out; None where none is left.

        Anything that `measure` raises beside Infeasible passes through, and the configuration is free again.
        """
        trial = self._study.ask()
        with given_back(self._study, trial):
            trial.set_user_attr("owner", this_process())
            self._require_alone(trial.number)
            configuration = self._sampler.proposed
            if configuration is None:
                self._study.tell(trial, state=TrialState.FAIL)
                return None
            trial.set_user_attr("configuration", configuration)
            for name in self._space.varied:
                if name in configuration:
                    suggest(trial, self._space.definitions[name])
            done = self._measured(trial.number, configuration, measure)
            self._store(trial, done)
        return done

    def rounds(self, keys: Sequence[str]) -> Rounds:
        """What is known of these configurations from being measured in turn."""
        held: Rounds = self._study.user_attrs.get("rounds", [])
        return [round_ for round_ in held if all(key in round_ for key in keys)]

    def add_round(self, figures: dict[str, ServingFigures]) -> None:
        """Keep one round: the figures of each configuration, by its key."""
        held: Rounds = self._study.user_attrs.get("rounds", [])
        added = {key: value.to_json() for key, value in figures.items()}
        self._study.set_user_attr("rounds", [*held, added])

    def importance(self) -> dict[str, float] | None:
        """How much of the difference each varied parameter explains; None for several goals or few trials."""
        scored = [trial for trial in self.trials if trial.scores is not None]
        if len(self._goals) > 1 or len(scored) < FEWEST_FOR_IMPORTANCE:
            return None
        if len({trial.scores for trial in scored}) < 2:
            return None
        always = [
            name
            for name in self._space.varied
            if self._space.definitions[name].count != 1
            and all(name in trial.configuration for trial in scored)
        ]
        with no_experimental_warnings():
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(), params=always)
        return {name: float(share) for name, share in found.items()}

    def _scoring(self, first: ServingFigures, trials: Sequence[ConfigurationTrial]) -> Scoring:
        if OptimizationGoal.BALANCED in self._goals and trials and trials[0].figures is None:
            raise TuningError(
                f"the goal 'balanced' compares with the default configuration, which could not be "
                f"evaluated: {trials[0].reason}"
            )
        return Scoring.by(self._goals, first)

    def _measured(self, number: int, configuration: Configuration, measure: Measure) -> ConfigurationTrial:
        start = self._clock()

        def made(state: Any, **facts: Any) -> ConfigurationTrial:
            given = {"figures": None, "scores": None, "violations": (), "reason": None} | facts
            return ConfigurationTrial(
                number=number,
                configuration=configuration,
                state=state,
                seconds=self._clock() - start,
                **given,
            )

        try:
            figures = measure(configuration)
            scoring = self.scoring or self._scoring(figures, self.trials)
            scores = scoring.scores(figures)
        except Infeasible as error:
            return made("infeasible", reason=error.reason)
        broken = tuple(words for limit in self._constraints if (words := limit.broken(figures)))
        state = "violating" if broken else "feasible"
        return made(state, figures=figures, scores=scores, violations=broken)

    def _store(self, trial: optuna.Trial, done: ConfigurationTrial) -> None:
        # The facts come before the state: a trial that shows as finished has all of them.
        if done.figures is None:
            beyond = [FAILED]
        else:
            beyond = [limit.violation(done.figures) for limit in self._constraints]
        trial.set_user_attr("beyond", beyond)
        trial.set_user_attr("facts", done.to_json())
        if done.scores is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(done.scores))

    def _free_abandoned(self) -> None:
        for frozen in self._running():
            if left_behind(frozen):
                self._study.tell(frozen.number, state=TrialState.FAIL, skip_if_finished=True)

    def _require_alone(self, number: int) -> None:
        for frozen in self._running():
            if frozen.number < number and not left_behind(frozen):
                raise TuningError(at_work(frozen.user_attrs.get("owner") or {}))

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _trial_of(frozen: FrozenTrial) -> ConfigurationTrial:
    facts = frozen.user_attrs["facts"]
    reason: Reason | None = reason_of(facts)
    return ConfigurationTrial(
        number=frozen.number,
        configuration=facts["configuration"],
        state=facts["state"],
        figures=None if facts["figures"] is None else ServingFigures.of(facts["figures"]),
        scores=None if facts["scores"] is None else tuple(facts["scores"]),
        violations=tuple(facts["violations"]),
        reason=reason,
        seconds=facts["seconds"],
    )


def at_work(owner: Mapping[str, Any]) -> str:
    """What is said to whoever comes while that process searches."""
    return (
        f"process {owner.get('pid', '(unknown)')} on {owner.get('host', 'some host')} works on this study, "
        f"and services measured at once disturb each other; wait for it, or take another name"
    )
