"""Any definition, limit, figure or evaluator that is given works, or one line says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt import ConfigurationManager
from grandopt.api.configuration import Constraint, integer, real, when
from grandopt.errors import ConfigError, TuningError
from grandopt.tuning.configuration.constraints import constraints_of
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.goals import OptimizationGoal, Scoring

numbers = st.one_of(st.integers(-9, 9), st.integers(-(10**400), 10**400), st.floats())
anything = st.one_of(
    numbers, st.none(), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)


@given(st.sampled_from([integer, real]), anything, anything, anything, anything, anything)
def test_any_definition_and_value(
    kind: Callable[..., Any], low: Any, high: Any, default: Any, bound: Any, value: Any
) -> None:
    try:
        first = kind("first", low, high, default)
        second = real("second", 0, 1, 0.5, active_when=[when("first", low=bound)])
        manager = ConfigurationManager([first, second])
        made = manager.validate({"first": value})
    except ConfigError:
        return
    assert low <= made["first"] <= high
    assert ("second" in made) == (made["first"] >= bound)
    json.dumps(made, allow_nan=False)


@given(anything, anything)
def test_any_limits(least: Any, most: Any) -> None:
    try:
        found = constraints_of([Constraint("throughput", least=least), Constraint("throughput", most=most)])
    except ConfigError:
        return
    kept = ServingFigures(throughput=max(float(least), 0.0))
    assert all(limit.broken(kept) is None for limit in found)


@given(st.dictionaries(st.sampled_from(["latency_p99_us", "throughput", "memory_mb", "else"]), anything))
def test_any_figures(given_: dict[str, Any]) -> None:
    try:
        figures = ServingFigures.of(given_)
        scoring = Scoring.by([OptimizationGoal.MAXIMIZE_THROUGHPUT], figures)
    except TuningError:
        return
    if figures.throughput:
        json.dumps([figures.to_json(), scoring.scores(figures)], allow_nan=False)


@pytest.mark.parametrize(
    "limits",
    [["throughput >= 2", "throughput <= 1"], ["throughput <= 1", "memory_mb <= 9", "throughput >= 2"]],
)
def test_limits_that_exclude_each_other_are_named(limits: list[str]) -> None:
    with pytest.raises(ConfigError, match="throughput >= 2 and throughput <= 1 exclude each other"):
        constraints_of(limits)
    with pytest.raises(ConfigError, match="no configuration can keep to memory_mb <= -1"):
        constraints_of("memory_mb <= -1")


@pytest.mark.parametrize("evaluator", [None, {"throughput": 1.0}, 3, "f"])
def test_what_cannot_be_called_evaluates_nothing(evaluator: Any) -> None:
    with pytest.raises(ConfigError, match="an evaluator is a function of a configuration, got"):
        ConfigurationManager().optimize_configuration(evaluator, "throughput")


@pytest.mark.parametrize("content", ["[]", "0", "false", "text"])
def test_a_file_without_a_mapping_is_no_configuration(tmp_path: Path, content: str) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text(f"version: 1\nconfiguration: {content}\n")
    with pytest.raises(ConfigError, match="maps names to values"):
        ConfigurationManager().load(path)
