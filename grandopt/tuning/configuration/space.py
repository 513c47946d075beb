"""All configurations that make sense: definitions, what depends on what, and what excludes what."""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Condition, Value, shown
from grandopt.tuning.configuration.parameter import Parameter
from grandopt.tuning.configuration.rules import Relation, Rule

Configuration = dict[str, Value]
"""The values of all parameters that count, by name, in the order of their definitions."""


def key_of(configuration: Mapping[str, Value]) -> str:
    """One text for each configuration, whatever the order of its names."""
    return json.dumps(configuration, sort_keys=True)


@dataclass(frozen=True)
class ConfigurationSpace:
    """The parameters and the rules between them.

    Raises ConfigError, naming both sides, for definitions that cannot be: a name defined twice or not at
    all, parameters that depend on each other in a circle, a parameter that never counts, a rule that the
    defaults break. As the defaults always go together, no space is empty.
    """

    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ConfigError("there is nothing to configure: define at least one parameter")
        counts = Counter(parameter.name for parameter in self.parameters)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ConfigError(f"parameter {twice[0]!r} is defined twice; remove one of them, or rename it")
        for parameter in self.parameters:
            for condition in parameter.active_when:
                self._require(condition.parameter, f"{parameter.name} depends on")
        self._refuse_circles()
        for parameter in self.parameters:
            self._require_possible(parameter)
        for rule in self.rules:
            for name in rule.names:
                self._require(name, "a rule is about")
            if isinstance(rule, Relation):
                for name in rule.names:
                    if self[name].choices:
                        raise ConfigError(f"a rule compares {' and '.join(rule.names)}: {name} is no number")
        problem = self.problem(self.default)
        if problem:
            raise ConfigError(f"the defaults do not go together: {problem}")

    def __getitem__(self, name: str) -> Parameter:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def ordered(self) -> tuple[Parameter, ...]:
        """The parameters, each after those that it depends on."""
        done: dict[str, Parameter] = {}

        def visit(parameter: Parameter) -> None:
            for condition in parameter.active_when:
                if condition.parameter not in done:
                    visit(self[condition.parameter])
            done[parameter.name] = parameter

        for parameter in self.parameters:
            if parameter.name not in done:
                visit(parameter)
        return tuple(done.values())

    @property
    def default(self) -> Configuration:
        """All defaults that count."""
        return self.filled({})

    def counts(self, parameter: Parameter, configuration: Mapping[str, Value]) -> bool:
        """Whether the parameter counts, given the values of those that it depends on."""
        return all(
            condition.parameter in configuration and condition.holds(configuration[condition.parameter])
            for condition in parameter.active_when
        )

    def filled(self, given: Mapping[str, Value]) -> Configuration:
        """`given` with defaults where it says nothing, and without what does not count then."""
        made: Configuration = {}
        for parameter in self.ordered:
            if self.counts(parameter, made):
                made[parameter.name] = given.get(parameter.name, parameter.default)
        return self._in_order(made)

    def problem(self, configuration: Mapping[str, Value]) -> str | None:
        """The first rule that the values break, in words; None where they go together."""
        return next((words for rule in self.rules if (words := rule.broken(configuration))), None)

    def complete(self, given: Mapping[str, Any]) -> Configuration:
        """The whole configuration that `given` stands for: what it leaves out has its default.

        Raises ConfigError for an unknown name (suggesting the nearest), a value that is none of its
        parameter's, a value for a parameter that does not count, and values that do not go together.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(f"a configuration maps names to values, got {given!r:.60}")
        for name in given:
            if name not in self._by_name:
                raise ConfigError(f"there is no parameter {name!r}{self._nearest(str(name))}")
        values = {name: self[name].check(value) for name, value in given.items()}
        made = self.filled(values)
        for name in values:
            if name not in made:
                raise ConfigError(self._idle(name, values[name], made))
        problem = self.problem(made)
        if problem:
            assumed = next((rule.names for rule in self.rules if rule.broken(made)), ())
            defaults = [name for name in assumed if name not in given]
            note = f" ({' and '.join(defaults)} has its default)" if defaults else ""
            raise ConfigError(problem + note)
        return made

    @property
    def combinations(self) -> int | None:
        """How many combinations of values there are at most, None where an interval has no number of them."""
        counts = [parameter.count for parameter in self.parameters]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def every(self, fixed: Mapping[str, Value]) -> Iterator[Configuration]:
        """All configurations that go together and have the values of `fixed`, where those count."""
        yield from self._extended({}, 0, fixed)

    def _extended(
        self, made: Configuration, place: int, fixed: Mapping[str, Value]
    ) -> Iterator[Configuration]:
        if place == len(self.ordered):
            if self.problem(made) is None:
                yield self._in_order(made)
            return
        parameter = self.ordered[place]
        if not self.counts(parameter, made):
            yield from self._extended(made, place + 1, fixed)
            return
        values = (fixed[parameter.name],) if parameter.name in fixed else parameter.values or ()
        for value in values:
            yield from self._extended({**made, parameter.name: value}, place + 1, fixed)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study: what a configuration of this space means."""
        return {
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "rules": [rule.to_json() for rule in self.rules],
        }

    def _in_order(self, made: Configuration) -> Configuration:
        return {item.name: made[item.name] for item in self.parameters if item.name in made}

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._by_name, n=1, cutoff=0.5)
        return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(self._by_name)})"

    def _idle(self, name: str, value: Value, made: Configuration) -> str:
        missing = next(
            condition
            for condition in self[name].active_when
            if condition.parameter not in made or not condition.holds(made[condition.parameter])
        )
        other = missing.parameter
        now = f"{other} = {shown(made[other])}" if other in made else f"{other} does not count either"
        return (
            f"{name} = {shown(value)} counts only where {missing}, but {now}; "
            f"leave {name} out, or change {other}"
        )

    def _require(self, name: str, what: str) -> None:
        if name not in self._by_name:
            raise ConfigError(f"{what} {name!r}, which is not defined{self._nearest(name)}")

    def _refuse_circles(self) -> None:
        for parameter in self.parameters:
            path = self._circle(parameter, [])
            if path:
                raise ConfigError(f"parameters depend on each other in a circle: {' → '.join(path)}")

    def _circle(self, parameter: Parameter, path: list[str]) -> list[str] | None:
        if parameter.name in path:
            return [*path[path.index(parameter.name) :], parameter.name]
        for condition in parameter.active_when:
            found = self._circle(self[condition.parameter], [*path, parameter.name])
            if found:
                return found
        return None

    def _require_possible(self, parameter: Parameter) -> None:
        asked: dict[str, list[Condition]] = {}
        for condition in self._asked_for(parameter):
            asked.setdefault(condition.parameter, []).append(condition)
        for name, conditions in asked.items():
            if not self[name].allows(conditions):
                words = " and ".join(dict.fromkeys(map(str, conditions)))
                raise ConfigError(
                    f"{parameter.name} would never count: it asks for {words}, "
                    f"and {name} is {self[name].range}"
                )

    def _asked_for(self, parameter: Parameter) -> Iterator[Condition]:
        for condition in parameter.active_when:
            yield condition
            yield from self._asked_for(self[condition.parameter])
