"""Where the time of a subject's calls goes, as its engine's profiler says."""

from __future__ import annotations

import time
from contextlib import ExitStack

import numpy as np

from grandopt.errors import UnsupportedError
from grandopt.measurement.ring import slices
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.operators import OperatorTimes, ProfileOperators
from grandopt.measurement.worker.opening import loaded
from grandopt.measurement.worker.sampling import time_calls


def profile(request: ProfileOperators) -> OperatorTimes:
    """The calls without the profiler first, for half of the time; then as many calls with it."""
    batches = slices(load_inputs(request.ring), 1)
    deadline = time.perf_counter_ns() + request.seconds / 2 * 1e9
    with ExitStack() as stack:
        executor = loaded(request.subject, request.threads)
        stack.callback(executor.close)
        times = time_calls(executor.run, batches, deadline)
        call_ns = float(np.median(times[len(times) // 2 :]))
        try:
            found = executor.operators(batches[: len(times)])
        except UnsupportedError as error:
            return OperatorTimes(call_ns, (), str(error))
        return OperatorTimes(call_ns, tuple(found), None)
