"""The CI jobs in configs/ci are YAML of the right form, and every command in them is one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from grandopt.cli.app import command_line

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "ci"
MAKEFILE = FOLDER.parents[1] / "Makefile"


def github() -> list[str]:
    data: dict[Any, Any] = yaml.safe_load((FOLDER / "github.yaml").read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as a boolean; GitHub does not.
    assert set(data) == {"name", True, "jobs"}
    job = data["jobs"]["compare"]
    assert set(job) == {"runs-on", "steps"}
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab() -> list[str]:
    job = yaml.safe_load((FOLDER / "gitlab.yaml").read_text(encoding="utf-8"))["compare"]
    assert job["allow_failure"] == {"exit_codes": 3}
    written = job["artifacts"]["reports"]["junit"]
    assert any(f"--junit {written}" in line for line in job["script"])
    lines: list[str] = job["script"]
    return lines


@pytest.mark.parametrize("lines", [github(), gitlab()], ids=["github", "gitlab"])
def test_every_command_is_one(lines: list[str]) -> None:
    program = ".venv/bin/grandopt"
    called = []
    for line in lines:
        command, _, _ = line.partition("||")
        first, *words = shlex.split(command)
        if first == "make":
            assert f"\n{words[0]}:" in MAKEFILE.read_text(encoding="utf-8")
            continue
        assert first == program
        called.append(words[0])
        group: Any = typer.main.get_command(command_line())
        name, found, rest = group.resolve_command(group.make_context("grandopt", words), words)
        # Raises for an option or an argument that the command does not know.
        found.make_context(name, list(rest))
    assert called == ["optimize", "compare"]
