"""Measuring the best of a search again, in turn with the default, before anything is said of it.

A search keeps the best of many single measurements, so that its figure is lucky as a rule. What it found is
therefore measured anew: in each round every finalist once, in an order that turns with the rounds, so that a
machine that slows down slows all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from grandopt.measurement.statistics import CONFIDENCE, ratio_interval, ratio_of_rounds
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.goals import Scoring
from grandopt.tuning.configuration.result import ConfigurationTrial, Confirmation, Finalist
from grandopt.tuning.configuration.space import Configuration, key_of
from grandopt.tuning.result import Infeasible

FEWEST_ROUNDS = 5
"""With fewer, no interval of a median can hold it in 19 of 20 cases."""

Rounds = Sequence[Mapping[str, Mapping[str, float]]]


def turned(items: Sequence[Configuration], round_: int) -> list[Configuration]:
    """The items in the order of this round: each comes first equally often, and the way round changes."""
    shift = round_ // 2 % len(items)
    order = [*items[shift:], *items[:shift]]
    return order[::-1] if round_ % 2 else order


def one_round(
    configurations: Sequence[Configuration],
    round_: int,
    measure: Callable[[Configuration], ServingFigures],
) -> tuple[dict[str, ServingFigures], list[str]]:
    """The figures of each configuration by its key, and the keys of those that failed this time."""
    figures, failed = {}, []
    for configuration in turned(configurations, round_):
        try:
            figures[key_of(configuration)] = measure(configuration)
        except Infeasible:
            failed.append(key_of(configuration))
    return figures, failed


def confirmed(
    rounds: Rounds,
    finalists: Iterable[ConfigurationTrial],
    default: ConfigurationTrial | None,
    scoring: Scoring,
    constraints: Sequence[Constraint],
    seed: int,
) -> Confirmation:
    """What the rounds say of each finalist against the default (None: that one does not work).

    The more finalists there are, the wider are their intervals (after Bonferroni), so that one of them wins
    by luck no more often than a single one would.
    """
    trials = list(finalists)
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(1, len(trials))
    base = None if default is None else _scores(rounds, default, scoring)
    found = []
    for trial in ([] if default is None else [default]) + trials:
        figures = median_figures(
            [ServingFigures.of(round_[key_of(trial.configuration)]) for round_ in rounds]
        )
        ratio = low = high = None
        if base is not None and trial is not default and len(rounds) >= FEWEST_ROUNDS:
            mine = _scores(rounds, trial, scoring)
            ratio = ratio_of_rounds([base], [mine])
            low, high = ratio_interval([base], [mine], seed=seed, confidence=confidence)
        broken = tuple(words for limit in constraints if (words := limit.broken(figures)))
        found.append(Finalist(trial.number, figures, ratio, low, high, confidence, broken))
    return Confirmation(len(rounds), tuple(found))


def median_figures(several: Sequence[ServingFigures]) -> ServingFigures:
    """The median of each figure that all of them have."""
    common = set(several[0].given).intersection(*(figures.given for figures in several))
    medians = {
        name: float(np.median([figures.get(name) for figures in several]))
        for name in several[0].given
        if name in common
    }
    return ServingFigures.of(medians)


def _scores(
    rounds: Rounds, trial: ConfigurationTrial, scoring: Scoring
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    key = key_of(trial.configuration)
    return np.array([scoring.scores(ServingFigures.of(round_[key]))[0] for round_ in rounds])
