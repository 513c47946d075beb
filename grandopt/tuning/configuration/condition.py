"""What one setting asks of another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from grandopt.errors import ConfigError

Value = bool | int | float | str


@dataclass(frozen=True)
class Condition:
    """That `parameter` has one of `values`, or lies between `low` and `high` (both included, each optional).

    Raises ConfigError for a condition that says nothing, or both.
    """

    parameter: str
    values: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        bounded = self.low is not None or self.high is not None
        if bool(self.values) == bounded:
            raise ConfigError(f"a condition on {self.parameter!r} needs either values or a bound")
        bound: Any
        for bound in (self.low, self.high):
            if bound is not None and (not is_number(bound) or not abs(bound) < math.inf):
                raise ConfigError(f"the bounds of {self.parameter!r} must be finite numbers, got {bound!r}")

    def holds(self, value: Value) -> bool:
        """Whether the value is as asked."""
        if self.values:
            return any(same(value, wanted) for wanted in self.values)
        if isinstance(value, (bool, str)):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.parameter} = {shown(self.values[0])}"
        if self.values:
            return f"{self.parameter} is one of {', '.join(map(shown, self.values))}"
        if self.high is None:
            return f"{self.parameter} is at least {self.low:g}"
        if self.low is None:
            return f"{self.parameter} is at most {self.high:g}"
        return f"{self.parameter} is from {self.low:g} to {self.high:g}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study."""
        return {
            "parameter": self.parameter,
            "values": list(self.values),
            "low": self.low,
            "high": self.high,
        }


def when(parameter: str, *values: Value, low: float | None = None, high: float | None = None) -> Condition:
    """The condition as one says it: `when("cache", True)`, `when("batch_limit", low=2)`."""
    return Condition(parameter, values, low, high)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same one: True is not 1 here, as it is not in a YAML file."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def shown(value: Value) -> str:
    """A value as it stands in a YAML file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_number(value: object) -> bool:
    """Whether it is a real number, of whichever class; True is none."""
    return not isinstance(value, bool) and isinstance(value, Real)
