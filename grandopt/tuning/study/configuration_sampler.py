"""Which configuration to try next: valid, new, and where the better ones were."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from grandopt.tuning.configuration.condition import Value, same
from grandopt.tuning.configuration.parameter import Parameter
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.space import Configuration, key_of
from grandopt.tuning.study.log_suppression import no_experimental_warnings

STARTUP_TRIALS = 10
"""Random trials before TPE has enough to model; Optuna's default."""
DRAWS = 6
"""Proposals of TPE that may be known, before one is drawn without it."""
UNIFORM_DRAWS = 100
FAILED = 1e9
"""Stands for "by far the most" where a configuration failed and by how much it broke anything is unknown."""


class ConfigurationSampler(BaseSampler):
    """TPE over configurations that go together and that nobody has evaluated yet.

    The first are those of `SearchSpace.first`. Parameters that do not count are not drawn. TPE is told by how
    much constraints were broken, and looks where they are kept. A draw that breaks a rule is replaced by the
    start, changed towards it as far as the rules allow; one that is known is drawn again.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.proposed: Configuration | None = None
        """What the last trial was given; None where nothing new was found."""
        self._space = space
        self._rng = np.random.default_rng(seed)
        with no_experimental_warnings(), warnings.catch_warnings():
            # From Optuna 5 on it would be `Trial.set_constraint`, which 4 does not have.
            warnings.filterwarnings("ignore", message=".*constraints_func", category=FutureWarning)
            self._tpe = TPESampler(
                n_startup_trials=STARTUP_TRIALS,
                multivariate=True,
                group=True,
                constant_liar=False,
                constraints_func=_beyond,
                seed=seed,
            )

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {name: distribution_of(self._space.definitions[name]) for name in self._space.varied}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {name: value for name, value in (self.proposed or {}).items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._tpe.before_trial(study, trial)
        # Here, because some releases ask for relative samples only when the first value is suggested.
        self.proposed = self._new(study, trial, _taken(study, trial.number))

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._tpe.after_trial(study, trial, state, values)

    def _new(self, study: optuna.Study, trial: FrozenTrial, taken: set[str]) -> Configuration | None:
        def new(configuration: Configuration) -> bool:
            return key_of(configuration) not in taken

        for configuration in self._space.first:
            if new(configuration):
                return configuration
        left = None if self._space.all is None else [item for item in self._space.all if new(item)]
        if left is not None and not left:
            return None
        drawn: Configuration = {}
        for _ in range(DRAWS):
            drawn = self._draw(study, trial)
            if self._space.definitions.problem(drawn) is not None:
                drawn = self._space.towards(drawn, self._shuffled(self._space.varied))
            if new(drawn):
                return drawn
        if left is not None:
            return self._nearest(drawn, left)
        for _ in range(UNIFORM_DRAWS):
            wanted = {name: self._uniform(self._space.definitions[name]) for name in self._space.varied}
            drawn = self._space.towards(wanted, self._shuffled(self._space.varied))
            if new(drawn):
                return drawn
        return None

    def _draw(self, study: optuna.Study, trial: FrozenTrial) -> Configuration:
        definitions = self._space.definitions
        modelled = self._tpe.infer_relative_search_space(study, trial)
        together = self._tpe.sample_relative(study, trial, modelled)
        wanted: Configuration = {}
        for parameter in definitions.ordered:
            if not definitions.counts(parameter, wanted):
                continue
            name = parameter.name
            if name in self._space.fixed:
                wanted[name] = self._space.fixed[name]
            elif parameter.count == 1:
                wanted[name] = parameter.default
            elif name in together:
                wanted[name] = parameter.tidy(together[name])
            else:
                alone = self._tpe.sample_independent(study, trial, name, distribution_of(parameter))
                wanted[name] = parameter.tidy(alone)
        return definitions.filled(wanted)

    def _nearest(self, drawn: Configuration, left: Sequence[Configuration]) -> Configuration:
        def differences(other: Configuration) -> int:
            names = {*drawn, *other}
            return sum(
                not (name in drawn and name in other and same(drawn[name], other[name])) for name in names
            )

        distances = [differences(other) for other in left]
        nearest = [other for other, far in zip(left, distances, strict=True) if far == min(distances)]
        return nearest[int(self._rng.integers(len(nearest)))]

    def _uniform(self, parameter: Parameter) -> Value:
        if parameter.choices:
            return parameter.choices[int(self._rng.integers(len(parameter.choices)))]
        assert parameter.low is not None
        assert parameter.high is not None
        low, high = parameter.low, parameter.high
        share = float(self._rng.random())
        number = low * (high / low) ** share if parameter.logarithmic else low + (high - low) * share
        return round(number) if parameter.kind == "integer" else parameter.tidy(number)

    def _shuffled(self, names: Iterable[str]) -> list[str]:
        known = list(names)
        return [known[place] for place in self._rng.permutation(len(known))]


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """The values of a parameter in Optuna's terms."""
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.kind == "integer":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.logarithmic)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.logarithmic)


def suggest(trial: optuna.Trial, parameter: Parameter) -> None:
    """Let the trial have the value that was proposed for this parameter."""
    name = parameter.name
    if parameter.choices:
        trial.suggest_categorical(name, parameter.choices)
        return
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.kind == "integer":
        trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.logarithmic)
    else:
        trial.suggest_float(name, parameter.low, parameter.high, log=parameter.logarithmic)


def _beyond(trial: FrozenTrial) -> Sequence[float]:
    return list(trial.user_attrs.get("beyond", ()))


def _taken(study: optuna.Study, number: int) -> set[str]:
    return {
        key_of(frozen.user_attrs["configuration"])
        for frozen in study.get_trials(deepcopy=False)
        if frozen.number != number
        and frozen.state != TrialState.FAIL
        and "configuration" in frozen.user_attrs
    }
