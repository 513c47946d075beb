"""Presets, files and comparisons of the manager."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from grandopt.api.configuration import ConfigurationManager, ServingFigures, integer
from grandopt.errors import ConfigError, EngineError, OutputError
from grandopt.tuning.configuration.confirmation import turned
from grandopt.tuning.configuration.presets import PRESETS

MANAGER = ConfigurationManager()


def test_the_presets_are_those_that_are_promised_and_fit_the_definitions() -> None:
    names = [preset.name for preset in ConfigurationManager.presets()]
    assert names == ["high-frequency", "batch", "low-memory", "edge"]
    for preset in PRESETS:
        assert ConfigurationManager.preset(preset.name) is preset
        complete = MANAGER.validate(preset)
        assert complete != MANAGER.default
        assert complete | preset.values == complete
        assert len(preset.why) > 80
        for constraint in preset.constraints:
            assert ServingFigures.of({constraint.figure: 1.0}).given == (constraint.figure,)
    with pytest.raises(ConfigError, match="no preset 'fast'; known: high-frequency, batch, low-memory, edge"):
        ConfigurationManager.preset("fast")


def test_a_search_can_start_from_a_preset_with_its_goal_and_constraints() -> None:
    edge = ConfigurationManager.preset("edge")

    def evaluator(configuration: Mapping[str, Any]) -> dict[str, float]:
        memory = 100.0 + configuration.get("cache_memory_mb", 0.0)
        return {"latency_p99_us": 50.0 + configuration["batch_limit"], "throughput": 1e4, "memory_mb": memory}

    found = MANAGER.optimize_configuration(
        evaluator, edge.goal, constraints=edge.constraints, start=edge, parameters=["batch_limit"], trials=4
    )
    assert found.trials[1].configuration == MANAGER.validate(edge)
    assert found.verdict == "better"
    assert found.configuration["cache"] is True
    assert found.configuration["batch_limit"] <= 8


def test_a_configuration_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "serving.yaml"
    for preset in PRESETS:
        MANAGER.save(preset, path, overwrite=True)
        assert MANAGER.load(path) == MANAGER.validate(preset)
    text = path.read_text()
    assert "  # most rows of one batch; a larger one serves more a second" in text
    assert "  batch_limit: 8  # from 1 to 4096 rows\n" in text


def test_a_file_that_is_there_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text("# mine\n")
    with pytest.raises(OutputError, match="is there already; give overwrite=True"):
        MANAGER.save({}, path)
    with pytest.raises(ConfigError, match="batch_limit must be a whole number"):
        MANAGER.save({"batch_limit": 0}, path, overwrite=True)
    assert path.read_text() == "# mine\n"
    with pytest.raises(OutputError, match="cannot be written"):
        MANAGER.save({}, path / "below.yaml")
    assert [item.name for item in tmp_path.iterdir()] == ["serving.yaml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected 'version:' and 'configuration:'"),
        ("- 1", "expected 'version:' and 'configuration:'"),
        ("version: 2\nconfiguration: {}", "version 2 is not known; this reads 1"),
        ("configuration: {}", "version None is not known"),
        ("version: 1\nconfiguration: {batch_limits: 8}", "did you mean 'batch_limit'?"),
        (
            "version: 1\nconfiguration: {queue_items: 8}",
            "queue_items = 8 and batch_limit = 256 do not",
        ),
        ("version: 1\nconfiguration: [8]", "maps names to values"),
        ("version: 1\nextra: 1", "and nothing else"),
        ("version: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        MANAGER.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        MANAGER.load(tmp_path / "gone.yaml")
    path = tmp_path / "empty.yaml"
    path.write_text("version: 1\nconfiguration:\n")
    assert MANAGER.load(path) == MANAGER.default


class Noisy:
    """A service that is faster with a larger `n`, and drifts: each call takes longer than the one before."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._random = random.Random(3)

    def __call__(self, configuration: Mapping[str, Any]) -> dict[str, float]:
        self.asked.append(configuration["n"])
        noise = self._random.lognormvariate(0.0, 0.02) * 1.05 ** len(self.asked)
        return {
            "latency_p50_us": 100.0 / configuration["n"] * noise,
            "throughput": 1e4 * configuration["n"] / noise,
            "memory_mb": 100.0 + self._random.random(),
            "goodput": 0.0,
            "hits": 5.0,
        }


def test_a_comparison_tells_better_worse_and_neither_although_the_machine_slows_down() -> None:
    service = Noisy()
    manager = ConfigurationManager([integer("n", 1, 8, 4)])
    found = manager.compare({}, {"n": 8}, {"n": 2}, evaluator=service, repeats=12)
    base, double, half = found.configurations
    assert base.against_first == ()
    assert (double["throughput"].verdict, half["throughput"].verdict) == ("better", "worse")
    assert double["latency_p50_us"].low <= 2.0 <= double["latency_p50_us"].high
    assert double["memory_mb"].verdict == "no difference shown"
    with pytest.raises(KeyError):
        _ = double["goodput"]  # 0 in every round: no ratio
    assert len(double.rounds) == 12
    assert double.rounds[0].get("hits") == 5.0
    assert sorted(service.asked[:3]) == sorted(service.asked[3:6]) == [2, 4, 8]
    assert service.asked[:3] == service.asked[3:6][::-1]
    document = json.loads(json.dumps(found.to_json()))
    assert document["configurations"][1]["against_first"][0]["verdict"] == "better"


def test_every_place_of_a_round_is_taken_equally_often() -> None:
    items = [{"n": number} for number in range(3)]
    for place in range(3):
        at = [turned(items, round_)[place]["n"] for round_ in range(6)]
        assert sorted(at) == [0, 0, 1, 1, 2, 2]


def test_a_comparison_that_cannot_be() -> None:
    manager = ConfigurationManager([integer("n", 1, 8, 4)])
    service = Noisy()
    with pytest.raises(ConfigError, match="at least two configurations, got 1"):
        manager.compare({}, evaluator=service)
    with pytest.raises(ConfigError, match="are the same"):
        manager.compare({}, {"n": 4}, evaluator=service)
    with pytest.raises(ConfigError, match="repeats must be at least 5"):
        manager.compare({}, {"n": 5}, evaluator=service, repeats=4)
    with pytest.raises(ConfigError, match="n must be a whole number from 1 to 8"):
        manager.compare({}, {"n": 9}, evaluator=service)
    assert service.asked == []

    def refuses(configuration: Mapping[str, Any]) -> dict[str, float]:
        raise EngineError("not with this")

    with pytest.raises(ConfigError, match="cannot be used: not with this"):
        manager.compare({}, {"n": 5}, evaluator=refuses)


def test_checking_and_reading_configurations_imports_neither_torch_nor_optuna() -> None:
    code = (
        "import sys, grandopt\n"
        "manager = grandopt.ConfigurationManager()\n"
        "manager.validate(manager.preset('edge'))\n"
        "print(grandopt.OptimizationGoal.BALANCED, {'torch', 'optuna'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "balanced set()\n"
