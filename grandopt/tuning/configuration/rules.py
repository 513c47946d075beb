"""Settings that do not go together."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Condition, Value, shown

Comparison = Literal[">=", ">", "<=", "<"]

_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_WORDS: dict[str, str] = {
    ">=": "must be at least",
    ">": "must be above",
    "<=": "must be at most",
    "<": "must be below",
}


class Rule(ABC):
    """Something that holds between two settings. It says nothing where one of them does not count."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, str]:
        """The two parameters."""

    @abstractmethod
    def broken(self, configuration: Mapping[str, Value]) -> str | None:
        """What is wrong: both sides with their values, and the way out; None where nothing is."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data for a study."""


@dataclass(frozen=True)
class Conflict(Rule):
    """Two settings that exclude each other, and why."""

    first: Condition
    second: Condition
    why: str

    def __post_init__(self) -> None:
        if self.first.parameter == self.second.parameter:
            raise ConfigError(
                f"a conflict is between two parameters, and {self.first.parameter!r} is both; "
                f"leave the value out of its range instead"
            )

    @property
    def names(self) -> tuple[str, str]:
        return self.first.parameter, self.second.parameter

    def broken(self, configuration: Mapping[str, Value]) -> str | None:
        sides = [configuration.get(name) for name in self.names]
        if any(value is None for value in sides):
            return None
        if not (self.first.holds(configuration[self.first.parameter])
                and self.second.holds(configuration[self.second.parameter])):  # fmt: skip
            return None
        both = " and ".join(f"{name} = {shown(configuration[name])}" for name in self.names)
        return f"{both} exclude each other ({self.why}); change one of them"

    def to_json(self) -> dict[str, Any]:
        return {"excludes": [self.first.to_json(), self.second.to_json()]}


@dataclass(frozen=True)
class Relation(Rule):
    """An order between two numbers: `left` >= `factor` times `right`, and why."""

    left: str
    comparison: Comparison
    right: str
    why: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.comparison not in _COMPARE:
            raise ConfigError(f"a relation is one of {', '.join(_COMPARE)}, got {self.comparison!r}")
        if self.left == self.right:
            raise ConfigError(f"a relation is between two parameters, and {self.left!r} is both")
        if not self.factor > 0:
            raise ConfigError(f"the factor of a relation must be above 0, got {self.factor:g}")

    @property
    def names(self) -> tuple[str, str]:
        return self.left, self.right

    def broken(self, configuration: Mapping[str, Value]) -> str | None:
        left, right = configuration.get(self.left), configuration.get(self.right)
        if left is None or right is None or isinstance(left, str) or isinstance(right, str):
            return None
        if _COMPARE[self.comparison](left, self.factor * right):
            return None
        times = "" if self.factor == 1 else f"{self.factor:g} times "
        up, down = (self.left, self.right) if self.comparison in (">=", ">") else (self.right, self.left)
        return (
            f"{self.left} = {shown(left)} and {self.right} = {shown(right)} do not go together: {self.left} "
            f"{_WORDS[self.comparison]} {times}{self.right} ({self.why}); raise {up} or lower {down}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "left": self.left,
            "comparison": self.comparison,
            "right": self.right,
            "factor": self.factor,
        }
