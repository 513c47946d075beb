"""What a configuration has to keep to, whatever else is better about it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from grandopt.errors import ConfigError, TuningError
from grandopt.tuning.configuration.condition import is_number
from grandopt.tuning.configuration.figures import MOST, ServingFigures

_WRITTEN = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+0-9.eE_]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A figure that may be at most `most`, or must be at least `least`, in the figure's own unit.

    `Constraint("latency_p99_us", most=1000)`; `constraint_of("memory_mb <= 500")` reads the same as text.
    Raises ConfigError for a limit that is missing, given twice, or no finite number.
    """

    figure: str
    most: float | None = None
    least: float | None = None

    def __post_init__(self) -> None:
        if (self.most is None) == (self.least is None):
            raise ConfigError(f"a constraint on {self.figure!r} needs either 'most' or 'least'")
        limit: Any = self.limit
        if not is_number(limit) or not abs(limit) <= MOST:
            raise ConfigError(f"the limit of {self.figure!r} must be a finite number, got {limit!r:.40}")
        if self.most is not None and self.most < 0:
            raise ConfigError(f"no configuration can keep to {self}: no figure is below 0")

    @property
    def limit(self) -> float:
        """The number that it is about."""
        limit = self.most if self.most is not None else self.least
        assert limit is not None
        return limit

    def violation(self, figures: ServingFigures) -> float:
        """By how much the limit is missed, as a share of it; at most 0 where it is kept.

        Raises TuningError where the figure was not measured.
        """
        value = figures.get(self.figure)
        if value is None:
            raise TuningError(
                f"the constraint {self} needs a figure that the evaluator did not give "
                f"(it gave {', '.join(figures.given) or 'nothing'})"
            )
        beyond = value - self.limit if self.most is not None else self.limit - value
        return beyond / abs(self.limit) if self.limit else beyond

    def broken(self, figures: ServingFigures) -> str | None:
        """In words by what it is broken; None where it is kept."""
        if self.violation(figures) <= 0:
            return None
        return f"{self.figure} is {figures.get(self.figure):g}, asked for is {self}"

    def __str__(self) -> str:
        return f"{self.figure} {'<=' if self.most is not None else '>='} {self.limit:g}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return {"figure": self.figure, "most": self.most, "least": self.least}


def constraint_of(given: Constraint | str) -> Constraint:
    """A constraint, also as the text "latency_p99_us <= 1000"; raises ConfigError for any other text."""
    if isinstance(given, Constraint):
        return given
    match = _WRITTEN.fullmatch(str(given))
    if match is None:
        raise ConfigError(
            f"a constraint reads 'latency_p99_us <= 1000' or 'throughput >= 5e4', got {given!r}"
        )
    figure, comparison, number = match.groups()
    try:
        limit = float(number)
    except ValueError as error:
        raise ConfigError(f"{number!r} in the constraint {given!r} is no number") from error
    return Constraint(figure, most=limit) if comparison == "<=" else Constraint(figure, least=limit)


def constraints_of(given: Iterable[Constraint | str] | Constraint | str) -> tuple[Constraint, ...]:
    """One constraint or several, each as `constraint_of` takes it.

    Raises ConfigError, naming both, for two that nothing can keep to at once.
    """
    items = [given] if isinstance(given, (str, Constraint)) else given
    found = tuple(constraint_of(item) for item in items)
    for least, most in itertools.permutations(found, 2):
        if (
            least.figure == most.figure
            and least.least is not None
            and most.most is not None
            and least.least > most.most
        ):
            raise ConfigError(f"{least} and {most} exclude each other; change one of them")
    return found
