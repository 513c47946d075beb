"""`grandopt serve` as a process, and requests to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ANY = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
STOP_S = 30


@contextmanager
def served(
    folder: Path, *words: str, light: bool = True
) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A server on free ports, without gRPC if `light`: what it says of itself, and the process."""
    command = [sys.executable, "-m", "grandopt", "serve", str(folder), "--json", *ANY, *words]
    with subprocess.Popen(
        command + ["--no-grpc"] * light, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            text = ""
            for line in process.stdout:
                text += line
                if line == "}\n":
                    break
            else:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            yield json.loads(text), process
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=STOP_S)


def address(told: dict[str, Any], what: str = "http") -> tuple[str, int]:
    host, _, port = told["addresses"][what][0].rpartition("//")[2].rpartition(":")
    return host, int(port)


def ask(
    place: tuple[str, int], method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(*place, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def observation(rows: int = 1) -> dict[str, Any]:
    values = [0.25] * (8 * rows)
    return {"inputs": [{"name": "state", "shape": [rows, 8], "datatype": "FP32", "data": values}]}


def children(pid: int) -> list[int]:
    """The worker processes of a server."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(one) for one in found if b"server.worker" in Path(f"/proc/{one}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
