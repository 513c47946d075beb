"""Bare threads that call an agent: every arrival is served, in turn, as often as it is long."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from grandopt.signature import Array, Signature, TensorSpec
from grandopt.suites.serving.worker.bare import TIMED, bare_latencies
from tests.fakes import FakeExecutor

SIGNATURE = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),))
ROWS = [np.full(2, place, np.float32) for place in range(256)]


def test_a_machine_that_became_too_slow_ends_it_and_what_is_left_counts_as_late() -> None:
    calls = 0

    def run(inputs: Sequence[Array]) -> tuple[Array, ...]:
        nonlocal calls
        calls += 1
        if calls > TIMED:
            time.sleep(0.02)
        return (inputs[0],)

    found = bare_latencies(FakeExecutor(SIGNATURE, run), ROWS, 500.0, 0.1, workers=1, saturation=1e9)
    assert calls - TIMED < len(found)  # 0.02 s for each of some 50 would be a second
    assert found.min() > 0
    assert found.max() > 100_000_000


@pytest.mark.parametrize("workers", [1, 2])
def test_every_arrival_is_served_by_as_much_work_as_the_engine_has_at_saturation(workers: int) -> None:
    calls: list[float] = []

    def run(inputs: Sequence[Array]) -> tuple[Array, ...]:
        calls.append(float(inputs[0].flat[0]))
        end = time.perf_counter_ns() + 100_000
        while time.perf_counter_ns() < end:
            pass
        return (inputs[0],)

    executor = FakeExecutor(SIGNATURE, run)
    # At so many a second a worker has half a millisecond for each; a call takes 0.1 ms at least.
    found = bare_latencies(executor, ROWS, 200.0, 0.2, workers=workers, saturation=2000.0 * workers)
    assert (found > 0).all()
    of_requests = len(calls) - TIMED
    assert of_requests % len(found) == 0
    assert 1 <= of_requests // len(found) <= 5
