"""Limits on the command line and in grandopt.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.config.gate import GateConfig, parse_limits, share
from grandopt.config.load import load_file
from grandopt.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "expected"), [("5%", 0.05), ("0.05", 0.05), (0.05, 0.05), (" 12.5 %", 0.125), ("200%", 2.0)]
)
def test_a_limit_is_a_percentage_or_a_fraction(value: object, expected: float) -> None:
    assert share(value) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["", "five", "-5%", "nan", "inf%", "5", True, None])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="limit"):
        share(value)


def test_what_is_not_said_has_defaults() -> None:
    assert GateConfig().limits_of("gate") == {"p50": 0.05, "accuracy": 0.02}


def test_an_agent_counts_more_than_all_and_the_command_line_more_than_the_file() -> None:
    file = GateConfig.model_validate(
        {"max_regression": "8%", "limits": {"p99": "30%", "p50": "9%"}, "agents": {"gate": {"p50": "2%"}}}
    )
    assert file.limits_of("other")["p50"] == pytest.approx(0.09)
    said = parse_limits("4%", ["memory=10%", "gate:cold-start=50%"]).over(file)
    assert said.limits_of("other") == pytest.approx(
        {"p50": 0.04, "p99": 0.30, "memory": 0.10, "accuracy": 0.02}
    )
    assert said.limits_of("gate") == pytest.approx(
        {"p50": 0.02, "p99": 0.30, "memory": 0.10, "accuracy": 0.02, "cold_start": 0.50}
    )


@pytest.mark.parametrize(
    ("most", "texts", "message"),
    [
        ("5", [], "--max-regression: a limit above 1 needs its percent sign (did you mean 5%?), got '5'"),
        ("0%", [], "--max-regression: a limit for p50 must be above 0: no two measurements are alike"),
        (None, ["p98=5%"], "--limit 'p98=5%': unknown figure 'p98' (did you mean 'p99'?)"),
        (None, ["p99"], "--limit 'p99': must read FIGURE=5% or AGENT:FIGURE=5%"),
        (None, [":p99=5%"], "--limit ':p99=5%': must read FIGURE=5% or AGENT:FIGURE=5%"),
        (None, ["memory=0"], "--limit 'memory=0': a limit for memory must be above 0"),
    ],
)
def test_wrong_options_are_one_clear_line(most: str | None, texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limits(most, texts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_limit_may_be_more_than_all() -> None:
    file = GateConfig.model_validate({"limits": {"cold_start": "300%"}})
    said = parse_limits("200%", ["gate:p99=400%"]).over(file)
    assert said.limits_of("gate") == pytest.approx(
        {"p50": 2.0, "p99": 4.0, "accuracy": 0.02, "cold_start": 3.0}
    )


def test_figures_without_noise_may_be_held_to_nothing() -> None:
    limits = parse_limits(None, ["size=0%", "accuracy=0", "instructions=0%"]).limits_of("gate")
    assert (limits["size"], limits["accuracy"], limits["instructions"]) == (0, 0, 0)


def test_the_file_says_it_under_compare(tmp_path: Path) -> None:
    path = tmp_path / "grandopt.yaml"
    path.write_text("compare:\n  max_regression: 3%\n  limits: {p99: 20%}\n  agents: {gate: {memory: 0.1}}\n")
    assert load_file(path).compare.limits_of("gate") == pytest.approx(
        {"p50": 0.03, "p99": 0.20, "memory": 0.10, "accuracy": 0.02}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compare: {max_regresion: 5%}", ":1: compare.max_regresion: unknown field"),
        ("compare:\n  limits: {p98: 5%}", ":2: compare.limits: unknown figure 'p98' (did you mean 'p99'?)"),
        (
            "compare:\n  max_regression: 5",
            ":2: compare.max_regression: a limit above 1 needs its percent sign",
        ),
    ],
)
def test_mistakes_in_the_file_name_their_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grandopt.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert message in str(caught.value)
