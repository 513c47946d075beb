"""The program whose instructions are counted: `python -m grandopt.measurement.worker.instructions FILE`.

The file holds the request. One artifact is loaded and called until it has settled, and then exactly the
wanted calls are counted, each with another input, the garbage collector off. What the interpreter adds to a
call is in the count.

valgrind is told to count inside of `COUNTED_FUNCTION`, the C function of the operator `@=`, which nothing
else here uses; so the calls are made inside of that operator. perf is switched on and off through two named
pipes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from grandopt.measurement.ring import Batch, slices
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.codec import asked
from grandopt.measurement.wire.instructions import CountCalls
from grandopt.measurement.worker.opening import opened

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
    """Make the calls of the request in the file that the command line names."""
    request = asked(Path(sys.argv[1]).read_bytes()).read(CountCalls)
    batches = slices(load_inputs(request.ring), 1)
    with ExitStack() as stack:
        run = opened(request.subject, batches, request.threads, stack)
        for batch in run.take(SETTLING_CALLS):
            run.call(batch)
        counted = run.take(request.calls)
        calls = Calls(run.call)
        gc.collect()
        gc.disable()
        if request.pipes is None:
            calls @= counted
            return
        control, reply = request.pipes
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
