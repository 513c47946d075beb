"""What a process of `grandopt serve` does not import: each takes a part of the start, and of the memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.serving.server.processes import ANY

FOREIGN = ("torch", "optuna", "yaml", "rich", "jinja2", "safetensors", "zstandard", "matplotlib", "diskcache")
OF_JOBS = ("load", "schema", "profiles", "engines", "engine", "gate")
"""Modules of grandopt.config that only building needs."""


def test_a_server_imports_what_serving_needs(artifacts: Path) -> None:
    code = (
        "import json, sys; from grandopt.cli.app import main; "
        f"code = main({['serve', str(artifacts), '--once', '--json', *ANY]!r}); "
        "sys.stderr.write(json.dumps([code, *sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, *found = json.loads(done.stderr)
    assert code == 0
    assert {"grandopt.serving.http.server", "grandopt.serving.grpc.server"} <= set(found)
    commands = {name for name in found if name.startswith("grandopt.cli.commands.")}
    assert commands == {"grandopt.cli.commands.serve"}
    unwanted = {*FOREIGN, "grpc", *(f"grandopt.config.{name}" for name in OF_JOBS)}
    assert unwanted.isdisjoint(found), sorted(unwanted.intersection(found))
