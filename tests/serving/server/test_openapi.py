"""The server against its own OpenAPI document, asked by schemathesis."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.clients.environment import ENVIRONMENTS, require
from tests.serving.server.processes import address, ask, served

CASES = 2000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", 501, 503]
"""
"""What is not served here, and models that were unloaded, are no failures of the server."""


@pytest.mark.slow
def test_no_server_error_and_no_answer_outside_the_document(artifacts: Path, tmp_path: Path) -> None:
    require("schemathesis")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG, encoding="utf-8")
    words = ("--model-control", "explicit", "--load", "policy", "--allow-client-shm")
    with served(artifacts, *words) as (told, _):
        host, port = address(told)
        start = "from schemathesis.cli import schemathesis; schemathesis()"
        run = ["run", f"http://{host}:{port}/openapi.json", "--checks", CHECKS]
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-W", "ignore", "-c", start, "--config-file", str(config), *run),
                *("--max-examples", "60", "--seed", "1", "--no-color"),
            ],
            env=ENVIRONMENTS["schemathesis"].variables(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        found = re.search(r"Test cases:\n\s+(\d+) generated", done.stdout)
        assert found is not None, done.stdout[-2000:]
        assert int(found[1]) >= CASES
        assert ask((host, port), "GET", "/v2/health/live")[0] == 200
