"""Random definitions, for properties that hold in all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Condition, when
from grandopt.tuning.configuration.parameter import Parameter, boolean, categorical, integer, real
from grandopt.tuning.configuration.rules import Conflict, Relation, Rule
from grandopt.tuning.configuration.space import ConfigurationSpace

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def parameters(draw: st.DrawFn, name: str, before: list[Parameter]) -> Parameter:
    """One definition, which may depend on one of those `before`."""
    asked = ()
    if before and draw(st.booleans()):
        asked = (draw(conditions(draw(st.sampled_from(before)))),)
    match draw(st.sampled_from(("integer", "real", "categorical", "boolean", "single"))):
        case "integer":
            low = draw(st.integers(1, 5))
            high = draw(st.integers(low, low + draw(st.sampled_from((3, 1000)))))
            default = draw(st.integers(low, high))
            return integer(name, low, high, default, logarithmic=draw(st.booleans()), active_when=asked)
        case "real":
            return real(name, 0.5, 8.0, draw(st.floats(0.5, 8.0)), active_when=asked)
        case "categorical":
            return categorical(name, ("x", "y", 3), draw(st.sampled_from(("x", "y", 3))), active_when=asked)
        case "boolean":
            return boolean(name, draw(st.booleans()), active_when=asked)
        case _:
            return integer(name, 4, 4, 4, active_when=asked)


@st.composite
def conditions(draw: st.DrawFn, parameter: Parameter) -> Condition:
    """Something that a value of the parameter may or may not meet."""
    if parameter.choices:
        return when(parameter.name, draw(st.sampled_from(parameter.choices)))
    bound = draw(st.floats(parameter.low, parameter.high))
    if parameter.low == parameter.high:
        return when(parameter.name, low=parameter.low)
    return when(parameter.name, **{draw(st.sampled_from(("low", "high"))): bound})


@st.composite
def spaces(draw: st.DrawFn) -> ConfigurationSpace:
    """Definitions that can be: rules that the defaults break, or that make no sense, are left out."""
    made: list[Parameter] = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        try:
            made.append(draw(parameters(name, made)))
            ConfigurationSpace(tuple(made))
        except ConfigError:
            made.pop()
    if not made:
        made.append(boolean("a", False))
    made = draw(st.permutations(made))
    kept: list[Rule] = []
    for _ in range(draw(st.integers(0, 3))):
        one, other = draw(st.sampled_from(made)), draw(st.sampled_from(made))
        try:
            if draw(st.booleans()):
                comparison: Any = draw(st.sampled_from((">=", ">", "<=", "<")))
                rule: Rule = Relation(one.name, comparison, other.name, "drawn")
            else:
                rule = Conflict(draw(conditions(one)), draw(conditions(other)), "drawn")
            ConfigurationSpace(tuple(made), (*kept, rule))
        except ConfigError:
            continue
        kept.append(rule)
    return ConfigurationSpace(tuple(made), tuple(kept))
