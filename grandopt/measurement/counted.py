"""The program whose instructions are counted: `python -m grandopt.measurement.counted JOB.json`.

It loads one artifact, calls it until it has settled, and then lets exactly the job's calls be counted, each
with another input, the garbage collector off. What the interpreter adds to a call is in the count.

valgrind is told to count inside of `PyNumber_InPlaceMatrixMultiply`, the C function of the operator `@=`,
which nothing else here uses; so the calls are made inside of that operator. perf is switched on and off
through two named pipes.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from grandopt.measurement.opening import arrays, opened
from grandopt.measurement.sampling import Batch, slices

COUNTED_FUNCTION = "PyNumber_InPlaceMatrixMultiply"
SETTLING_CALLS = 32


class Calls:
    """Calls made by `calls @= inputs`."""

    def __init__(self, call: Callable[[Batch], Any]) -> None:
        self._call = call

    def __imatmul__(self, batches: Sequence[Batch]) -> Calls:
        call = self._call
        for batch in batches:
            call(batch)
        return self


def main() -> None:
    """Make the calls of the job named on the command line."""
    job: Mapping[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with ExitStack() as stack:
        run = opened(job, job["subject"], slices(arrays(job["ring"]), 1), job["threads"], stack)
        for batch in run.take(SETTLING_CALLS):
            run.call(batch)
        counted = run.take(job["calls"])
        calls = Calls(run.call)
        gc.collect()
        gc.disable()
        if job["pipes"] is None:
            calls @= counted
            return
        control, reply = (Path(name) for name in job["pipes"])
        with control.open("w", encoding="ascii") as switch, reply.open("rb", buffering=0) as answer:
            switch.write("enable\n")
            switch.flush()
            answer.read(64)
            calls @= counted
            switch.write("disable\n")
            switch.flush()
            answer.read(64)


if __name__ == "__main__":
    main()
