"""Definitions that can be, those that cannot, and configurations under them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.config.serving import changed
from grandopt.config.serving_profiles import serving_config
from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import when
from grandopt.tuning.configuration.parameter import Parameter, boolean, categorical, integer, real
from grandopt.tuning.configuration.rules import Conflict, Relation
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.serving import SERVING, cache_settings, engine_settings
from grandopt.tuning.configuration.space import ConfigurationSpace, key_of
from tests.tuning.configuration.spaces import spaces

CACHE = boolean("cache", False)
ENTRIES = integer("entries", 1, 100, 10, active_when=(when("cache", True),))
ROWS = integer("rows", 1, 1000, 64)
LIMIT = integer("limit", 1, 1000, 64)
NEVER = integer("n", 1, 2, 1, active_when=[when("cache", False), when("entries", low=1)])
ENOUGH = Relation("rows", ">=", "limit", "a batch is made of rows that wait")


def switch(name: str, other: str) -> Parameter:
    """Something that counts only where another one is on."""
    return boolean(name, True, active_when=[when(other, True)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: integer("n", 5, 4, 5), "n: its range is empty, from 5 to 4"),
        (lambda: integer("n", 1, 4, 9), "the default of n must be a whole number from 1 to 4, got 9"),
        (lambda: integer("n", 1, 4, True), "the default of n must be a whole number"),
        (lambda: integer("n", 1.5, 4, 2), "whole numbers need whole bounds"),
        (lambda: real("x", 0.0, 1.0, 0.5, logarithmic=True), "a logarithmic range begins above 0, got 0"),
        (lambda: real("x", 0.0, float("inf"), 0.5), "must be finite numbers"),
        (lambda: real("x", 0.0, 1.0, float("nan")), "the default of x must be a number from 0 to 1"),
        (lambda: categorical("k", (), "a"), "k: it has no values"),
        (lambda: categorical("k", ("a", "b", "a"), "a"), "k: a value is listed twice: a, b, a"),
        (lambda: categorical("k", (1, True), 1), "k: a value is listed twice"),
        (lambda: categorical("k", ("a", "b"), "c"), "the default of k must be one of a, b, got 'c'"),
        (lambda: boolean("on", 1), "the default of on must be one of false, true, got 1"),
        (lambda: integer("two words", 1, 2, 1), "name must be a word"),
        (lambda: Parameter("n", "number", 1), "kind must be integer, real, categorical or boolean"),
        (lambda: when("cache"), "needs either values or a bound"),
        (lambda: when("cache", True, low=1), "needs either values or a bound"),
        (lambda: Relation("a", "==", "b", "no"), "got '=='"),
        (lambda: Relation("a", "<", "a", "no"), "'a' is both"),
        (lambda: Relation("a", "<", "b", "no", factor=0), "must be above 0, got 0"),
        (lambda: Conflict(when("a", 1), when("a", 2), "no"), "between two parameters"),
    ],
)
def test_a_definition_that_cannot_be_says_why(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        make()


@pytest.mark.parametrize(
    ("parameters", "rules", "words"),
    [
        ((), (), "nothing to configure"),
        ((CACHE, CACHE), (), "'cache' is defined twice"),
        ((ENTRIES,), (), "entries depends on 'cache', which is not defined"),
        ((CACHE, LIMIT), (ENOUGH,), "a rule is about 'rows', which is not defined"),
        (
            (
                switch("a", "b"),
                boolean("b", True, active_when=[when("a", True)]),
            ),
            (),
            "in a circle: a → b → a",
        ),
        (
            (
                switch("x", "a"),
                switch("a", "b"),
                switch("b", "c"),
                switch("c", "a"),
            ),
            (),
            "in a circle: a → b → c → a",
        ),
        (
            (CACHE, integer("n", 1, 2, 1, active_when=[when("cache", True), when("cache", False)])),
            (),
            "n would never count: it asks for cache = true and cache = false, and cache is false, true",
        ),
        (
            (ROWS, integer("n", 1, 2, 1, active_when=[when("rows", low=2000)])),
            (),
            "n would never count: it asks for rows is at least 2000, and rows is from 1 to 1000",
        ),
        (
            (ROWS, integer("n", 1, 2, 1, active_when=[when("rows", low=2.2, high=2.8)])),
            (),
            "n would never count",
        ),
        (
            (
                CACHE,
                ENTRIES,
                integer("n", 1, 2, 1, active_when=[when("cache", False), when("entries", low=1)]),
            ),
            (),
            "n would never count: it asks for cache = false and cache = true",
        ),
        (
            (CACHE, categorical("k", ("a",), "a", active_when=[when("cache", "yes")])),
            (),
            "k would never count",
        ),
        (
            (ROWS, integer("limit", 1, 1000, 128)),
            (ENOUGH,),
            "the defaults do not go together: rows = 64 and limit = 128 do not go together",
        ),
        ((CACHE, LIMIT), (Relation("cache", "<", "limit", "no"),), "cache is no number"),
    ],
)
def test_definitions_that_cannot_be_together_name_both_sides(parameters: Any, rules: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        ConfigurationSpace(parameters, rules)


SPACE = ConfigurationSpace(
    (CACHE, ENTRIES, ROWS, LIMIT, categorical("kind", ("inline", "threads"), "inline")),
    (ENOUGH, Conflict(when("cache", True), when("kind", "threads"), "the cache is not shared")),
)


def test_what_is_left_out_has_its_default_and_what_does_not_count_is_not_there() -> None:
    assert SPACE.default == {"cache": False, "rows": 64, "limit": 64, "kind": "inline"}
    made = SPACE.complete({"entries": np.int64(7), "cache": True})
    assert made == {"cache": True, "entries": 7, "rows": 64, "limit": 64, "kind": "inline"}
    assert type(made["entries"]) is int
    assert SPACE.complete(made) == made


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"entires": 5}, "no parameter 'entires' (did you mean 'entries'?)"),
        ({"zzz": 5}, "no parameter 'zzz' (known: cache, entries, rows, limit, kind)"),
        ({"rows": 1001}, "rows must be a whole number from 1 to 1000, got 1001"),
        ({"rows": 64.0}, "rows must be a whole number from 1 to 1000, got 64.0"),
        ({"rows": True}, "rows must be a whole number"),
        ({"rows": "64"}, "rows must be a whole number from 1 to 1000, got '64'"),
        ({"cache": 1}, "cache must be one of false, true, got 1"),
        ({"entries": 5}, "entries = 5 counts only where cache = true, but cache = false; leave entries out"),
        (
            {"rows": 16, "limit": 32},
            "rows = 16 and limit = 32 do not go together: rows must be at least limit (a batch is made of "
            "rows that wait); raise rows or lower limit",
        ),
        ({"rows": 16}, "raise rows or lower limit (limit has its default)"),
        (
            {"cache": True, "kind": "threads"},
            "cache = true and kind = threads exclude each other (the cache is not shared); change one of",
        ),
        ([("rows", 1)], "a configuration maps names to values"),
    ],
)
def test_a_configuration_that_cannot_be_names_both_sides(given_: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        SPACE.complete(given_)


def test_a_rule_says_nothing_where_one_side_does_not_count() -> None:
    space = ConfigurationSpace(
        (CACHE, ENTRIES, LIMIT),
        (Relation("limit", "<=", "entries", "x", 0.5),),
    )
    assert "limit" in space.default


def test_conditions_meet_only_values_of_their_kind() -> None:
    assert not when("n", 1).holds(True)
    assert not when("n", True).holds(1)
    assert not when("n", low=0).holds(True)
    assert not when("n", low=0).holds("5")
    assert when("n", low=1, high=3).holds(3)
    assert str(when("n", low=1, high=3)) == "n is from 1 to 3"
    assert str(when("k", "a", "b")) == "k is one of a, b"


@settings(max_examples=150, deadline=None)
@given(spaces())
def test_whatever_is_defined_has_valid_defaults_and_lists_each_valid_configuration_once(
    space: ConfigurationSpace,
) -> None:
    assert space.complete(space.default) == space.default
    if space.combinations is None or space.combinations > 2000:
        return
    listed = list(space.every({}))
    assert len({key_of(item) for item in listed}) == len(listed)
    assert space.default in listed
    for item in listed:
        assert space.complete(item) == item


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_serving_configuration_is_taken_by_the_engine(data: st.DataObject) -> None:
    wanted = {
        parameter.name: parameter.default
        if parameter.count == 1
        else data.draw(
            st.sampled_from(parameter.choices)
            if parameter.choices
            else st.integers(int(parameter.low), int(parameter.high))
            if parameter.kind == "integer"
            else st.floats(parameter.low, parameter.high)
        )
        for parameter in SERVING.parameters
    }
    configuration = SearchSpace.of(SERVING).towards(wanted, [item.name for item in SERVING.ordered])
    served = changed(serving_config(), engine_settings(configuration))
    cache = cache_settings(configuration)
    for name, value in configuration.items():
        if name.startswith("cache_"):
            assert getattr(cache, name.removeprefix("cache_")) == value
        elif name == "cache":
            assert (cache is not None) is value
        else:
            assert getattr(served, name) == value


def test_the_defaults_are_those_of_the_default_profile() -> None:
    usual, asked = serving_config(), engine_settings(SERVING.default)
    assert changed(usual, asked) == usual
    assert {"batch_limit", "queue_items", "queue_mb", "ageing_ms", "workers", "memory"} <= set(asked)
