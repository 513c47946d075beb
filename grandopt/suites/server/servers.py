"""The servers that are measured, each a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grandopt.errors import MeasurementError

STARTING_S = 60.0
STOPPING_S = 15.0


@contextmanager
def ours(artifact: Path, uds: Path, ring: Path) -> Iterator[int]:
    """`grandopt serve` of one artifact, at a port, at a Unix socket and through rings; gives the port."""
    command = [sys.executable, "-m", "grandopt", "serve", str(artifact), "--json", "--http-port", "0"]
    command += ["--no-grpc", "--no-metrics", "--uds", str(uds), "--ring", str(ring)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("\n}\n"):
                line = process.stdout.readline()
                if not line:
                    raise MeasurementError(f"grandopt serve {artifact} did not start")
                text += line
            yield int(json.loads(text)["addresses"]["http"][0].rpartition(":")[2])
        finally:
            _stop(process)


@contextmanager
def fastapi(artifact: Path, place: Path) -> Iterator[int]:
    """FastAPI: `place` is the interpreter of an environment that has it, or a folder of its packages."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).with_name("fastapi_rival.py")
    others = [
        str(Path(__file__).parents[3]),
        *(path for path in sys.path if path.endswith("packages")),
    ]
    python, environment = str(place), dict(os.environ)
    if place.is_dir():
        python, environment["PYTHONPATH"] = sys.executable, str(place)
    command = [python, "-P", str(program), str(artifact), str(port), *others]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            _await(process, port)
            yield port
        finally:
            _stop(process)


def _await(process: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + STARTING_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    assert process.stderr is not None
    said = process.stderr.read().strip().splitlines() if process.poll() is not None else []
    raise MeasurementError(f"FastAPI did not start: {said[-1] if said else 'it took too long'}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOPPING_S)
    except subprocess.TimeoutExpired:
        process.kill()
