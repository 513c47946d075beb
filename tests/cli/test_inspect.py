"""`grandopt inspect` shows artifacts without torch, and checkpoints without running them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grandopt.cli.commands.inspect import outline
from tests.cli.conftest import Grandopt, assert_one_error_line


def test_an_artifact_as_json(grandopt: Grandopt, artifact: Path) -> None:
    result = grandopt("inspect", artifact, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert (facts["kind"], facts["name"], facts["engine"]) == ("artifact", "gate", "torchscript")
    assert len(facts["digest"]) == 64
    assert facts["source"]["format"] == "sb3"


def test_an_artifact_for_people(grandopt: Grandopt, artifact: Path) -> None:
    result = grandopt("inspect", artifact / "manifest.json")
    assert result.returncode == 0
    assert "engine: torchscript\n" in result.stdout
    assert "    - state shape=[7]" in result.stdout


def test_an_artifact_is_shown_without_torch(artifact: Path, environ: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from grandopt.cli.app import main;"
        "sys.exit(main(['inspect', sys.argv[1]]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(artifact)], env=environ, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_damaged_artifact_is_refused(grandopt: Grandopt, artifact: Path) -> None:
    (payload,) = (path for path in artifact.iterdir() if path.name != "manifest.json")
    payload.write_bytes(b"A payload")
    result = grandopt("inspect", artifact)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert "damaged" in result.stderr


@pytest.mark.parametrize("name", ["missing.zip", "folder", "empty.pt"])
def test_what_cannot_be_inspected_is_exit_2(grandopt: Grandopt, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pt").touch()
    result = grandopt("inspect", name)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert name in result.stderr


def test_a_real_checkpoint(grandopt: Grandopt, shared_checkpoints: Path) -> None:
    path = shared_checkpoints / "grandmodel" / "tactical_mappo.pth"
    result = grandopt("inspect", path, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert facts["kind"] == "checkpoint"
    assert "actors.0" in [found["key"] for found in facts["state_dicts"]]


def test_long_lists_are_cut_and_say_so() -> None:
    facts = {"layers": [{"name": f"layer{n}", "shape": [n]} for n in range(5)]}
    assert list(outline(facts, longest=2)) == [
        "layers:",
        "  - layer0 shape=[0]",
        "  - layer1 shape=[1]",
        "  … 3 more, shown with -v",
    ]
    assert len(list(outline(facts, longest=None))) == 6


def test_outline_of_nested_facts() -> None:
    facts = {"a": None, "b": {}, "c": True, "d": {"e": [1, 2]}, "f": [{"g": {"h": "x\ny"}, "i": 1}]}
    assert list(outline(facts, longest=12)) == [
        "a: none",
        "b: none",
        "c: yes",
        "d:",
        "  e: [1, 2]",
        "f:",
        "  - g:",
        "      h: x\\ny",
        "    i: 1",
    ]
