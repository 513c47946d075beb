"""Folders that are one agent, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandopt.workflows.gate.operands import operand
from tests.checkpoints.frameworks import test_brax as brax
from tests.cli.conftest import Grandopt, assert_one_error_line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return brax.folder(tmp_path, brax.arrays(brax.policy()))


def test_inspect_shows_the_agent_in_a_folder(grandopt: Grandopt, folder: Path) -> None:
    result = grandopt("inspect", folder, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert (facts["kind"], facts["format"]) == ("checkpoint", "brax")


@pytest.mark.slow
def test_a_folder_that_is_damaged_is_one_line_and_exit_2(grandopt: Grandopt, folder: Path) -> None:
    (folder / "ppo_network_config.json").write_text("{")
    for command in ("inspect", "optimize"):
        result = grandopt(command, folder)
        assert result.returncode == 2
        assert_one_error_line(result)
        assert "is no JSON" in result.stderr


def test_compare_takes_a_folder_for_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    assert operand(str(folder), tmp_path).kind == "checkpoint"
