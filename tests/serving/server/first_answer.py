"""`python -m tests.serving.server.first_answer [ROUNDS]`: from the start of `grandopt serve` to an answer.

Eight native agents, HTTP, gRPC and /metrics; a client asks at a Unix socket from the moment that it is there
until the right answer comes. grandopt's bytecode is kept, as it is where pip has installed it. Beside it
stands what the machine takes for a bare interpreter and for the libraries that any server of numpy, uvloop,
httptools and orjson imports.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from grandopt.runtime.loader import load
from tests.serving.http.planes import binary

AGENTS = 8
LIBRARIES = "import numpy, uvloop, httptools, orjson"
OPTIONS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--quiet")


def agents_in(folder: Path) -> None:
    """Eight copies of a small native agent, each a folder of its own."""
    import shutil

    from grandopt.artifacts.store import Store
    from grandopt.compiler.build import Candidate, build
    from grandopt.config.engines import NativeOptions
    from tests.small_agents import Policy, program

    with tempfile.TemporaryDirectory() as place:
        built = build(program(Policy), Candidate("float32", NativeOptions()), Store(Path(place)))
        for number in range(AGENTS):
            shutil.copytree(built.path, folder / f"policy_{number}")


def environment(cache: Path) -> dict[str, str]:
    """This process's own, with grandopt's bytecode kept in `cache`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(cache)}


def first_answer(folder: Path, uds: Path, environ: dict[str, str]) -> float:
    """Seconds from the start of the process to the first right answer of the last agent."""
    rows = np.random.default_rng(0).normal(size=(1, 8)).astype("f")
    name = f"policy_{AGENTS - 1}"
    (expected,) = load(folder / name).run((rows,))
    request = binary(rows, "FP32", name, "state")
    command = [sys.executable, "-m", "grandopt", "serve", str(folder), "--uds", str(uds), *OPTIONS]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                assert process.poll() is None
                found = _asked(uds, request)
                if found.endswith(expected.tobytes()):
                    return time.perf_counter() - began
                time.sleep(0.002)
        finally:
            process.terminate()


def _asked(uds: Path, request: bytes) -> bytes:
    """The answer; nothing where nobody listens yet."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(uds))
        except OSError:
            return b""
        client.sendall(request)
        return client.recv(1 << 16)


def bare(code: str, environ: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    return time.perf_counter() - began


def main(rounds: int = 15) -> None:
    found: dict[str, list[float]] = {"interpreter": [], "its libraries": [], "first answer": []}
    with tempfile.TemporaryDirectory() as place:
        environ, folder = environment(Path(place) / "bytecode"), Path(place) / "agents"
        agents_in(folder)
        for number in range(rounds + 1):
            taken = (
                bare("pass", environ),
                bare(LIBRARIES, environ),
                first_answer(folder, Path(place) / "s", environ),
            )
            if number:  # the first writes the bytecode
                for name, value in zip(found, taken, strict=True):
                    found[name].append(value)
    seconds = {
        name: {"median": round(statistics.median(one), 3), "most": round(max(one), 3)}
        for name, one in found.items()
    }
    print(json.dumps({"seconds": seconds, "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
