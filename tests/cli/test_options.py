"""The values of shared options are checked where they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.cli.option_values import (
    parse_fix,
    parse_inputs,
    parse_names,
    parse_states,
    parse_threads,
    parse_vecnormalize,
)
from grandopt.errors import ConfigError


@pytest.mark.parametrize(("text", "value"), [(None, None), ("auto", "auto"), ("1", 1), ("16", 16)])
def test_threads(text: str | None, value: object) -> None:
    assert parse_threads(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "all", "²"])
def test_wrong_threads_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--threads must be a whole number of at least 1"):
        parse_threads(text)


def test_inputs_keep_their_order() -> None:
    inputs = parse_inputs(["window=60x7", "state=7", "price=4:float64"])
    assert [(item.name, item.shape, item.dtype) for item in inputs] == [
        ("window", (60, 7), None),
        ("state", (7,), None),
        ("price", (4,), "float64"),
    ]
    assert parse_inputs(None) == ()


@pytest.mark.parametrize("text", ["state", "=7", "state=", "state=0", "state=7x", "state=-7", "state=7,8"])
def test_wrong_inputs_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=SHAPE, such as state=7 or window=60x7, got"):
        parse_inputs([text])


def test_an_input_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'state' is given twice"):
        parse_inputs(["state=7", "state=8"])


def test_vecnormalize() -> None:
    assert parse_vecnormalize("auto") == "auto"
    assert parse_vecnormalize("none") == "none"
    assert parse_vecnormalize("stats.pkl") == Path("stats.pkl")


def test_values_to_fix_are_flags_numbers_and_texts() -> None:
    found = parse_fix(["deterministic=true", "gain=1.5", "steps=3", "mode=a=b", "off=False"])
    assert found == {"deterministic": True, "gain": 1.5, "steps": 3, "mode": "a=b", "off": False}
    assert [type(value) for value in found.values()] == [bool, float, int, str, bool]
    assert parse_fix(None) == {}


@pytest.mark.parametrize("text", ["deterministic", "=true", ""])
def test_a_value_to_fix_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--fix must read NAME=VALUE, such as deterministic=true"):
        parse_fix([text])


def test_a_value_that_is_fixed_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="--fix 'a' is given twice"):
        parse_fix(["a=1", "a=2"])


def test_names_of_outputs() -> None:
    assert parse_names(None) == ()
    assert parse_names("action, value") == ("action", "value")
    with pytest.raises(ConfigError, match="--outputs must read NAME,NAME"):
        parse_names("action,,value")


def test_states() -> None:
    found = parse_states(["h_in=h_out", "c_in=c_out"])
    assert {name: state.output for name, state in found.items()} == {"h_in": "h_out", "c_in": "c_out"}
    for wrong, words in ((["h_in"], "must read INPUT=OUTPUT"), (["h=a", "h=b"], "'h' is given twice")):
        with pytest.raises(ConfigError, match=words):
            parse_states(wrong)
