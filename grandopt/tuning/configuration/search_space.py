"""What of a space is searched: the parameters that vary, and the values of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Value
from grandopt.tuning.configuration.space import Configuration, ConfigurationSpace

ENUMERABLE = 10_000
"""Combinations up to which all configurations are listed, so that the last new one is found."""


@dataclass(frozen=True)
class SearchSpace:
    """The definitions, the names that `varied` lists, and `start`, whose values the others keep.

    `start` is a complete configuration of the definitions.
    """

    definitions: ConfigurationSpace
    varied: tuple[str, ...]
    start: Configuration

    @classmethod
    def of(
        cls,
        definitions: ConfigurationSpace,
        varied: Iterable[str] | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> SearchSpace:
        """The space in which `varied` parameters vary (all, unless given), around `start` (the defaults).

        Raises ConfigError for a name that is not defined, for none at all, and for a `start` that is not
        valid.
        """
        known = [parameter.name for parameter in definitions.parameters]
        names = known if varied is None else list(varied)
        for name in names:
            if name not in known:
                raise ConfigError(f"there is no parameter {name!r} to vary (known: {', '.join(known)})")
        if not names:
            raise ConfigError("nothing varies; name at least one parameter")
        return cls(definitions, tuple(dict.fromkeys(names)), definitions.complete(start or {}))

    @cached_property
    def first(self) -> tuple[Configuration, ...]:
        """What is evaluated before anything is proposed: the defaults, and the start."""
        default = self.definitions.default
        return (default,) if default == self.start else (default, self.start)

    @cached_property
    def fixed(self) -> Configuration:
        """The values of the parameters that do not vary, those included that do not count at the start."""
        return {
            parameter.name: self.start.get(parameter.name, parameter.default)
            for parameter in self.definitions.parameters
            if parameter.name not in self.varied
        }

    @cached_property
    def all(self) -> tuple[Configuration, ...] | None:
        """Every configuration that can be proposed; None where they are too many to list."""
        count = 1
        for name in self.varied:
            values = self.definitions[name].count
            if values is None or (count := count * values) > ENUMERABLE:
                return None
        return tuple(self.definitions.every(self.fixed))

    def towards(self, wanted: Mapping[str, Value], names: Iterable[str]) -> Configuration:
        """The start, changed to what is `wanted` name by name, as far as the values still go together."""
        reached = self.start
        asked: Configuration = {**self.fixed, **self.start}
        for name in names:
            if name not in wanted:
                continue
            changed = self.definitions.filled({**asked, name: wanted[name]})
            if self.definitions.problem(changed) is None:
                asked[name], reached = wanted[name], changed
        return reached

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study: what makes it another search."""
        return {**self.definitions.to_json(), "varied": sorted(self.varied), "fixed": self.fixed}
