"""A process that leaks in one way, KIND, watched by a monitor whose clock it sets.

`python -m tests.runtime.memory.leaking KIND [census]`
"""

from __future__ import annotations

import ctypes
import json
import sys

import numpy as np

from grandopt.runtime.memory.monitor import Monitor
from tests.runtime.cache.clock import Clock

STEPS = 14
CENSUS_STEPS = 10
SIZE = 1 << 20
"""About what a step leaks, in bytes."""


class Session:
    """What a server forgets to forget."""

    def __init__(self, number: int) -> None:
        self.number = number + 1_000_000
        self.history = [float(number), float(number)]


def main(kind: str, census: bool) -> None:
    clock = Clock()
    monitor = Monitor(clock=clock, census_every=int(census))
    held: list[object] = []
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    for _ in range(CENSUS_STEPS if census else STEPS):
        match kind:
            case "python":
                held += [Session(number) for number in range(3000)]
            case "numpy":
                held += [np.ones(SIZE // 80) for _ in range(10)]
            case "native":
                address = library.malloc(ctypes.c_size_t(SIZE))
                ctypes.memset(address, 1, SIZE)
            case "none":
                held = [Session(number) for number in range(4000)]
                np.ones(SIZE // 8).sum()
            case "warm-up":
                if len(held) < 3:
                    held.append(np.ones(SIZE // 8))
        clock.now += 1.0
        monitor.read()
    report = monitor.leak()
    print(
        json.dumps(
            {
                "leaking": report.leaking,
                "origin": report.origin,
                "reason": report.reason,
                "growing": [growth.type for growth in report.growing],
                "slope": report.resident.slope if report.resident else None,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["census"])
