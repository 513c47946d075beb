"""What to try next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study.log_suppression import no_experimental_warnings

STARTUP_TRIALS = 10
"""Random trials before TPE has enough to model; Optuna's default."""


class UnseenSampler(BaseSampler):
    """TPE on choices that are `offered`, because nobody has taken them yet.

    What TPE proposes is moved to the nearest free choice. Until TPE has enough trials, a candidate that was
    tried least often is drawn, so that each is tried before any is tried again.
    """

    def __init__(self, space: ChoiceSpace, seed: int) -> None:
        self.offered: Sequence[Choice] = list(space)
        self.taken: Sequence[Choice] = ()
        """Those that were evaluated, or are being."""
        self._space = space
        self._rng = np.random.default_rng(seed)
        with no_experimental_warnings():
            self._tpe = TPESampler(
                n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True, seed=seed
            )

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(distributions(self._space))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        choices = list(self.offered)
        varied = {name: values for name, values in search_space.items() if not values.single()}
        proposed = self._tpe.sample_relative(study, trial, varied)
        if proposed:
            single = {name: values.choices[0] for name, values in distributions(self._space).items()}
            wanted = Choice(**(single | proposed))
            nearest = min(choice.differences(wanted) for choice in choices)
            choices = [choice for choice in choices if choice.differences(wanted) == nearest]
        else:
            tried = Counter(choice.candidate for choice in self.taken)
            fewest = min(tried[choice.candidate] for choice in choices)
            choices = [choice for choice in choices if tried[choice.candidate] == fewest]
        return choices[int(self._rng.integers(len(choices)))].to_json()

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


def distributions(space: ChoiceSpace) -> dict[str, CategoricalDistribution]:
    """The space in Optuna's terms, by the names of the fields of a Choice."""
    return {
        "candidate": CategoricalDistribution(space.candidates),
        "threads": CategoricalDistribution(space.threads),
        "batch": CategoricalDistribution(space.batches),
    }
