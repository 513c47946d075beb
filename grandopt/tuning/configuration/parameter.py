"""One thing that can be set: its values, its default, and when it counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Condition, Value, is_number, same, shown

Kind = Literal["integer", "real", "categorical", "boolean"]

MOST = 1e15
"""Of a bound, so that whole numbers stay exact."""
DIGITS = 4
"""Significant digits of the real numbers that are proposed: what a person would write into a file."""


@dataclass(frozen=True)
class Parameter:
    """A definition. `integer`, `real`, `categorical` and `boolean` make one.

    `low` and `high` bound numbers, both included, and `choices` lists the values of the other kinds. With
    `logarithmic`, numbers are searched by their order of magnitude. The parameter counts only where all of
    `active_when` hold, and is left out of configurations elsewhere. Raises ConfigError for a definition that
    no value fits, or whose default is none of its values.
    """

    name: str
    kind: Kind
    default: Value
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    logarithmic: bool = False
    unit: str = ""
    description: str = ""
    active_when: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ConfigError(
                f"a parameter's name must be a word of letters, digits and '_', got {self.name!r}"
            )
        match self.kind:
            case "integer" | "real":
                self._check_range()
            case "categorical" | "boolean":
                self._check_choices()
            case _:
                raise ConfigError(
                    f"{self.name}: kind must be integer, real, categorical or boolean, got {self.kind!r}"
                )
        try:
            self.check(self.default)
        except ConfigError as error:
            raise ConfigError(f"the default of {error}") from error

    def check(self, value: Any) -> Value:
        """The value as a plain Python one; raises ConfigError where it is none of this parameter's."""
        if self.kind in ("categorical", "boolean"):
            for choice in self.choices:
                if same(choice, value):
                    return choice
            raise ConfigError(f"{self.name} must be one of {self.range}, got {value!r}")
        wanted = Integral if self.kind == "integer" else Real
        if isinstance(value, bool) or not isinstance(value, wanted) or not self.holds(value):  # type: ignore[arg-type]
            what = "a whole number" if self.kind == "integer" else "a number"
            raise ConfigError(f"{self.name} must be {what} {self.range}, got {value!r:.60}")
        return int(value) if self.kind == "integer" else float(value)  # type: ignore[call-overload]

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high

    def tidy(self, value: Value) -> Value:
        """A proposed value as a person would write it: real numbers have few digits."""
        if self.kind != "real":
            return value
        assert self.low is not None
        assert self.high is not None
        return min(max(float(f"{float(value):.{DIGITS}g}"), self.low), self.high)

    @property
    def values(self) -> tuple[Value, ...] | None:
        """All values, None where they are the numbers of an interval."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        if self.low == self.high:
            return (self.default,)
        return None if self.kind == "real" else tuple(range(int(self.low), int(self.high) + 1))

    @property
    def count(self) -> int | None:
        """How many values there are, None where they are the numbers of an interval."""
        if self.choices:
            return len(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.low == self.high:
            return 1
        return None if self.kind == "real" else int(self.high) - int(self.low) + 1

    @property
    def range(self) -> str:
        """The values in words."""
        if self.choices:
            return ", ".join(map(shown, self.choices))
        unit = f" {self.unit}" if self.unit else ""
        return f"from {self.low:g} to {self.high:g}{unit}"

    def allows(self, conditions: Iterable[Condition]) -> bool:
        """Whether one of the values meets all of the conditions."""
        conditions = list(conditions)
        listed = next((condition.values for condition in conditions if condition.values), self.choices)
        if listed:
            return any(
                self._is_value(value) and all(condition.holds(value) for condition in conditions)
                for value in listed
            )
        lows = [condition.low for condition in conditions if condition.low is not None]
        highs = [condition.high for condition in conditions if condition.high is not None]
        assert self.low is not None
        assert self.high is not None
        low, high = max([self.low, *lows]), min([self.high, *highs])
        return math.ceil(low) <= high if self.kind == "integer" else low <= high

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return {
            "name": self.name,
            "kind": self.kind,
            "default": self.default,
            "low": self.low,
            "high": self.high,
            "choices": list(self.choices),
            "logarithmic": self.logarithmic,
            "unit": self.unit,
            "active_when": [condition.to_json() for condition in self.active_when],
        }

    def _is_value(self, value: Value) -> bool:
        try:
            self.check(value)
        except ConfigError:
            return False
        return True

    def _check_range(self) -> None:
        if self.choices or self.low is None or self.high is None:
            raise ConfigError(f"{self.name}: numbers have 'low' and 'high', and no choices")
        bound: Any
        for bound in (self.low, self.high):
            if not is_number(bound) or not abs(bound) <= MOST:
                raise ConfigError(
                    f"{self.name}: its bounds must be finite numbers of at most {MOST:g}, got "
                    f"{self.low!r:.40} and {self.high!r:.40}"
                )
        if self.low > self.high:
            raise ConfigError(f"{self.name}: its range is empty, from {self.low:g} to {self.high:g}")
        if self.kind == "integer" and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ConfigError(
                f"{self.name}: whole numbers need whole bounds, got {self.low:g}, {self.high:g}"
            )
        if self.logarithmic and self.low <= 0:
            raise ConfigError(f"{self.name}: a logarithmic range begins above 0, got {self.low:g}")

    def _check_choices(self) -> None:
        if not self.choices:
            raise ConfigError(f"{self.name}: it has no values; list its choices")
        if self.low is not None or self.high is not None or self.logarithmic:
            raise ConfigError(f"{self.name}: only numbers have bounds and a scale, this lists its choices")
        # Python's own equality: 1 and True are one value to a study.
        if any(choice in self.choices[:place] for place, choice in enumerate(self.choices)):
            raise ConfigError(f"{self.name}: a value is listed twice: {self.range}")


def integer(
    name: str,
    low: int,
    high: int,
    default: int,
    *,
    logarithmic: bool = False,
    unit: str = "",
    description: str = "",
    active_when: Iterable[Condition] = (),
) -> Parameter:
    """A whole number from `low` to `high`."""
    return Parameter(
        name, "integer", default, low, high, (), logarithmic, unit, description, tuple(active_when)
    )


def real(
    name: str,
    low: float,
    high: float,
    default: float,
    *,
    logarithmic: bool = False,
    unit: str = "",
    description: str = "",
    active_when: Iterable[Condition] = (),
) -> Parameter:
    """A number from `low` to `high`."""
    return Parameter(name, "real", default, low, high, (), logarithmic, unit, description, tuple(active_when))


def categorical(
    name: str,
    choices: Iterable[Value],
    default: Value,
    *,
    unit: str = "",
    description: str = "",
    active_when: Iterable[Condition] = (),
) -> Parameter:
    """One of several values without an order."""
    return Parameter(
        name,
        "categorical",
        default,
        choices=tuple(choices),
        unit=unit,
        description=description,
        active_when=tuple(active_when),
    )


def boolean(
    name: str, default: bool, *, description: str = "", active_when: Iterable[Condition] = ()
) -> Parameter:
    """Something that is on or off."""
    return Parameter(
        name,
        "boolean",
        default,
        choices=(False, True),
        description=description,
        active_when=tuple(active_when),
    )
