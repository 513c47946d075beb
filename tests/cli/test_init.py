"""`grandopt init` writes a file that works, and overwrites none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from grandopt.cli.commands.init import template
from grandopt.config.load import load_file, reference_agents
from tests.cli.conftest import Grandopt, assert_one_error_line


def test_the_file_is_the_default_job(grandopt: Grandopt, tmp_path: Path) -> None:
    result = grandopt("init")
    assert (result.returncode, result.stdout) == (0, "")
    config = load_file(tmp_path / "grandopt.yaml")
    assert config.profile == "aggressive"
    assert config.agents == reference_agents()


def test_every_commented_example_is_valid(tmp_path: Path) -> None:
    """With all its examples switched on, the file still loads, and names agents of every kind."""
    text = re.sub(r"^( *)# (?=[a-z_0-9]+:|  |- )", r"\1", template(), flags=re.M)
    path = tmp_path / "all.yaml"
    path.write_text(text)
    config = load_file(path)
    own = {name: agent for name, agent in config.agents.items() if agent.reference is None}
    assert set(own) == {"lander", "walker", "fvg", "trader", "strategic", "exported", "legacy"}
    assert own["fvg"].key == "actors.0"
    assert own["legacy"].trust
    assert own["trader"].state["h"].output == "h_next"
    assert [item.shape for item in own["strategic"].inputs] == [(48, 8), (3,)]
    top = set(yaml.safe_load(text))
    assert top == {
        "profile",
        "engines",
        "precisions",
        "levels",
        "threads",
        "budget_s",
        "trials",
        "seed",
        "output",
        "strict",
        "compare",
        "cache",
        "agents",
    }


@pytest.mark.parametrize("name", ["grandopt.yaml", "other.yaml"])
def test_an_existing_file_is_not_overwritten(grandopt: Grandopt, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    result = grandopt("init", name)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert f"{name} exists and is not overwritten" in result.stderr
    assert (tmp_path / name).read_text() == "mine"


def test_a_place_that_cannot_be_written_is_exit_2(grandopt: Grandopt) -> None:
    result = grandopt("init", "no/such/folder/grandopt.yaml")
    assert result.returncode == 2
    assert_one_error_line(result)


def test_json_and_quiet(grandopt: Grandopt) -> None:
    result = grandopt("init", "--json", "--quiet")
    assert json.loads(result.stdout) == {"written": "grandopt.yaml"}
    assert result.stderr == ""
