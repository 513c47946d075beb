"""How long a lone request takes over a ring, beside a call in the same process.

`python -m tests.serving.ring.latency ARTIFACT [ROUNDS]`: in each round calls of the loaded agent, of a client
in Python, and of one in C, on a server in another process. Prints medians and tails in microseconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.runtime.loader import load
from grandopt.serving.ring.client import RingClient
from grandopt.serving.ring.header import folder
from grandopt.signature import Array

ROWS = 256
CALLS = 20_000
WARM = 2_000


def main(artifact: str, rounds: str = "5") -> None:
    executor = load(Path(artifact))
    rows = (
        np.random.default_rng(0).normal(size=(ROWS, *executor.signature.inputs[0].shape)).astype(np.float32)
    )
    taken: dict[str, list[Array]] = {"direct": [], "Python client": [], "C client": []}
    with tempfile.TemporaryDirectory() as name:
        path, program = Path(name) / "ring", Path(name) / "client"
        source = Path(__file__).with_name("client.c")
        subprocess.run(["gcc", "-O2", f"-I{folder()}", source, "-o", program], check=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.ring.alone", path, artifact], stdout=subprocess.PIPE
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            for _ in range(int(rounds)):
                taken["direct"].append(_timed(executor, rows))
                with RingClient(path, "policy") as client:
                    assert all(np.array_equal(client(row), executor(row), equal_nan=True) for row in rows)
                    taken["Python client"].append(_timed(client, rows))
                words = [program, "times", path, "policy", str(ROWS), str(CALLS)]
                done = subprocess.run(words, input=rows.tobytes(), capture_output=True, check=True)
                taken["C client"].append(np.frombuffer(done.stdout, np.uint64)[WARM:])
        finally:
            server.kill()
            server.communicate()
    for who, times in taken.items():
        p50, p99, p999 = np.percentile(np.concatenate(times), (50, 99, 99.9)) / 1000
        medians = ", ".join(f"{np.median(each) / 1000:.2f}" for each in times)
        print(f"{who:14} p50 {p50:6.2f}  p99 {p99:6.2f}  p99.9 {p999:7.2f} µs   medians of rounds: {medians}")


def _timed(call: Callable[[Any], Any], rows: Array) -> Array:
    times = np.empty(CALLS, np.uint64)
    for n in range(CALLS):
        row = rows[n % ROWS]
        begun = time.perf_counter_ns()
        call(row)
        times[n] = time.perf_counter_ns() - begun
    return times[WARM:]


if __name__ == "__main__":
    main(*sys.argv[1:])
