"""The command line as a user meets it: a process of its own, with an empty folder to work in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import write
from grandopt.artifacts.manifest import Manifest, Source

# What the console script does.
PROGRAM = [sys.executable, "-c", "import sys; from grandopt.cli.app import main; sys.exit(main())"]

Grandopt = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment of the processes: without what would change width, colour or encoding."""
    odd = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PYTHONIOENCODING", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in odd}


@pytest.fixture
def grandopt(tmp_path: Path, environ: dict[str, str]) -> Grandopt:
    """Runs `grandopt ARGS` in an empty folder; keyword arguments are more environment."""

    def run(*args: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, args)],
            cwd=tmp_path,
            env=environ | {"TMPDIR": str(tmp_path)} | more,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A complete artifact whose payload is never run."""
    manifest = Manifest(
        name="gate",
        engine="torchscript",
        precision="float32",
        signature={"inputs": [{"name": "state", "shape": [7]}], "outputs": []},
        source=Source(format="sb3", path="gate.zip"),
        payload=(),
        machine="x86_64",
        built_by="grandopt 0.1.0",
    )
    return write(tmp_path / "artifacts" / "gate", manifest, {"program.pt": b"a payload"}).path


def assert_one_error_line(result: subprocess.CompletedProcess[str]) -> None:
    """Nothing on stdout, and one line on stderr that says "error: …"."""
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
