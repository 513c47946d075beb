"""What the Dockerfile installs, in a new environment without torch: it serves, from the wheel alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from tests.serving.packaging.test_files import REQUIREMENTS, ROOT, instructions
from tests.small_agents import Policy, program

pytestmark = pytest.mark.slow

HIDDEN = "import importlib.util as u; print([n for n in ('torch', 'optuna', 'matplotlib') if u.find_spec(n)])"


def ran(*command: object, timeout: float = 240.0) -> str:
    """What a program says; skips where packages cannot be had, as without a network."""
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, timeout=timeout)
    if "No matching distribution" in done.stderr or "Failed to establish a new connection" in done.stderr:
        pytest.skip(f"skipped: the package index cannot be asked: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment made as the image's."""
    folder = tmp_path_factory.mktemp("image")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    ran(*pip, "wheel", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("grandopt-*.whl")
    ran(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    ran(python, *pip[1:], "install", "--no-deps", "-r", REQUIREMENTS, wheel)
    return python.parent


def asked(url: str, body: bytes | None = None) -> bytes:
    """The answer of a server."""
    with urlopen(Request(url, body), timeout=5) as answer:
        told: bytes = answer.read()
    return told


def _place(lines: list[str], kind: str) -> str:
    """Where the server says that it listens."""
    (line,) = (one for one in lines if one.split()[:1] == [kind])
    return next(word for word in line.split() if "://" in word)


def until(ready: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something; an endless wait is a failure."""
    end = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_image_serves_native_agents_without_torch(installed: Path, tmp_path: Path) -> None:
    assert ran(installed / "python", "-c", HIDDEN).strip() == "[]"
    artifact = build(program(Policy), Candidate("float32", NativeOptions()), Store(tmp_path / "store"))
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / artifact.manifest.name).symlink_to(artifact.path)
    socket = tmp_path / "serve.sock"
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    server = subprocess.Popen(
        [installed / "grandopt", "serve", folder, *ports, "--uds", socket],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert server.stdout is not None
        lines: list[str] = []
        while not any(artifact.manifest.name in line for line in lines):
            line = server.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
        http, metrics = (_place(lines, kind) for kind in ("http", "metrics"))

        def healthy() -> bool:
            """By the command of the image's HEALTHCHECK, at the port that was given."""
            told = json.loads(dict(instructions())["HEALTHCHECK"].split("CMD ", 1)[1])
            command = told[2].replace("http://127.0.0.1:8000", http)
            assert command != told[2]
            return subprocess.run([installed / "python", "-c", command]).returncode == 0

        until(healthy)
        rows = {"name": "state", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}
        body = json.dumps({"inputs": [rows]}).encode()
        answer = json.loads(asked(f"{http}/v2/models/{artifact.manifest.name}/infer", body))
        assert abs(sum(answer["outputs"][0]["data"]) - 1) < 1e-5
        assert b"nv_inference_request_success" in asked(f"{metrics}/metrics")
        assert b'src="/dashboard/main.js"' in asked(f"{http}/")
        for name in ("main.js", "charts.js", "style.css", "icon.svg"):
            assert len(asked(f"{http}/dashboard/{name}")) > 100
        with pytest.raises(URLError):
            asked(f"{http}/dashboard/other.js")
        server.terminate()
        assert server.wait(15) == 0
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
