"""Configurations beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grandopt.errors import ConfigError
from grandopt.measurement.statistics import CONFIDENCE, ratio_interval, ratio_of_rounds
from grandopt.tuning.configuration.confirmation import FEWEST_ROUNDS, median_figures, one_round
from grandopt.tuning.configuration.figures import OWN, ServingFigures
from grandopt.tuning.configuration.goals import better_ratio
from grandopt.tuning.configuration.space import Configuration, key_of
from grandopt.tuning.result import Infeasible

COMPARISON_VERSION = 1
"""Of the document that `to_json` makes. Fields are only added within a version."""

Difference = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of one configuration against the first one's.

    `ratio` is how many times better it is, above 1 for a lower latency and for a higher throughput, paired
    by rounds, with its 95 % interval. Each interval stands for itself: of twenty, one misses.
    """

    figure: str
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Difference:
        """What the interval shows."""
        if self.low > 1.0:
            return "better"
        return "worse" if self.high < 1.0 else "no difference shown"

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {
            "figure": self.figure,
            "ratio": self.ratio,
            "interval": [self.low, self.high],
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class ComparedConfiguration:
    """One configuration: its figures in every round, their medians, and what they say against the first.

    `against_first` is empty for the first itself. A figure that is missing or 0 in a round is not compared.
    """

    configuration: Configuration
    rounds: tuple[ServingFigures, ...]
    medians: ServingFigures
    against_first: tuple[ComparedFigure, ...]

    def __getitem__(self, figure: str) -> ComparedFigure:
        for compared in self.against_first:
            if compared.figure == figure:
                return compared
        raise KeyError(figure)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report."""
        return {
            "configuration": self.configuration,
            "medians": self.medians.to_json(),
            "against_first": [compared.to_json() for compared in self.against_first],
            "rounds": [figures.to_json() for figures in self.rounds],
        }


@dataclass(frozen=True)
class ConfigurationComparison:
    """Several configurations, measured in turn."""

    configurations: tuple[ComparedConfiguration, ...]

    def to_json(self) -> dict[str, Any]:
        """A document of its own, of version `COMPARISON_VERSION`."""
        return {
            "version": COMPARISON_VERSION,
            "confidence": CONFIDENCE,
            "configurations": [compared.to_json() for compared in self.configurations],
        }


def compared(
    configurations: Sequence[Configuration],
    measure: Callable[[Configuration], ServingFigures],
    repeats: int,
    seed: int,
) -> ConfigurationComparison:
    """Measure the configurations in turn for `repeats` rounds, and hold each against the first.

    Raises ConfigError for fewer than two, for two that are the same, for too few repeats, and for one that
    the evaluator refuses.
    """
    if len(configurations) < 2:
        raise ConfigError(f"a comparison needs at least two configurations, got {len(configurations)}")
    keys = [key_of(configuration) for configuration in configurations]
    if len(set(keys)) != len(keys):
        raise ConfigError("two of the configurations are the same; compare different ones")
    if repeats < FEWEST_ROUNDS:
        raise ConfigError(f"repeats must be at least {FEWEST_ROUNDS}, got {repeats}")
    rounds = [_round(configurations, number, measure) for number in range(repeats)]
    columns = {key: [round_[key] for round_ in rounds] for key in keys}
    return ConfigurationComparison(
        tuple(
            ComparedConfiguration(
                configuration,
                tuple(columns[key]),
                median_figures(columns[key]),
                () if key == keys[0] else _against(columns[keys[0]], columns[key], seed),
            )
            for configuration, key in zip(configurations, keys, strict=True)
        )
    )


def _round(
    configurations: Sequence[Configuration], number: int, measure: Callable[[Configuration], ServingFigures]
) -> Mapping[str, ServingFigures]:
    def required(configuration: Configuration) -> ServingFigures:
        try:
            return measure(configuration)
        except Infeasible as error:
            raise ConfigError(
                f"configuration {key_of(configuration)} cannot be used: {error.reason}"
            ) from error

    return one_round(configurations, number, required)[0]


def _against(
    base: Sequence[ServingFigures], other: Sequence[ServingFigures], seed: int
) -> tuple[ComparedFigure, ...]:
    found = []
    for figure in OWN:
        pairs = [(mine.get(figure), theirs.get(figure)) for mine, theirs in zip(base, other, strict=True)]
        ratios = [better_ratio(figure, mine, theirs) for mine, theirs in pairs if mine and theirs]
        if len(ratios) < len(pairs):
            continue
        paired, ones = np.array(ratios), np.ones(len(ratios))
        low, high = ratio_interval([paired], [ones], seed=seed)
        found.append(ComparedFigure(figure, ratio_of_rounds([paired], [ones]), low, high))
    return tuple(found)
