"""A program that asks a server through its rings, one request after another; it reads and writes JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from grandopt.serving.ring.client import RingClient
from grandopt.suites.server.asking import Answers, in_time


def ring(path: Path, agent: str, rows: Path, seconds: float) -> Answers:
    """Ask about the `rows` [n, *shape] of a .npy file in turns for so long; raises what the client does."""
    observations = [*np.load(rows)]
    bodies = [b""] * len(observations)
    times: list[int] = []
    clock = time.perf_counter_ns
    with RingClient(path, agent) as client:
        for number, row in enumerate(observations):  # which warms it up as well
            found = client(row)
            several = found if isinstance(found, tuple) else (found,)
            bodies[number] = b"".join(output.tobytes() for output in several)
        began = clock()
        end, number = began + int(seconds * 1e9), 0
        while (asked := clock()) < end:
            client(observations[number])
            times.append(clock() - asked)
            number = (number + 1) % len(observations)
        lasted = (clock() - began) / 1e9
    return in_time(times, 0, lasted, bodies)


def main() -> None:
    given = json.loads(sys.stdin.readline())
    found = ring(Path(given["path"]), given["agent"], Path(given["rows"]), given["seconds"])
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
