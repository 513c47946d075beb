"""The first call of a subject in a process that has done nothing before."""

from __future__ import annotations

from contextlib import ExitStack

from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.cold import ColdTimes, StartCold
from grandopt.measurement.worker.opening import opened


def start(request: StartCold) -> ColdTimes:
    """Load a subject, call it once, and look at the memory that is resident then."""
    inputs = load_inputs(request.inputs)
    with ExitStack() as stack:
        run = opened(request.subject, [inputs], request.threads, stack)
        import psutil  # only now: it is no part of what the agent needs

        resident = psutil.Process().memory_info().rss
    return ColdTimes(run.load_ns, run.first_call_ns, resident)
