"""The machine's pace, and work that goes on at it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.distributed.plan.pace import STEADY, Pace, Progress

STRETCHES = st.lists(st.tuples(st.floats(1.0, 1e7), st.floats(1.0, 1e7)), min_size=1, max_size=30)


def pace_of(stretches: list[tuple[float, float]]) -> Pace:
    took, work = zip(*stretches, strict=True)
    return Pace(np.array(took), np.array(work))


@given(STRETCHES, st.floats(0, 1e8), st.floats(0, 1e8), st.floats(0, 1e7), st.floats(0, 1e7))
def test_work_in_two_parts_takes_as_long_as_in_one(
    stretches: list[tuple[float, float]], offset: float, moment: float, first: float, then: float
) -> None:
    server = Progress(pace_of(stretches), offset)
    between = server.worked(moment, first)
    assert between >= moment
    whole = server.worked(moment, first + then)
    assert server.worked(between, then) == pytest.approx(whole, rel=1e-6, abs=1.0)


@given(STRETCHES, st.integers(0, 5))
def test_all_of_the_work_takes_all_of_the_time(stretches: list[tuple[float, float]], turns: int) -> None:
    pace = pace_of(stretches)
    work, took = float(pace.work_ns.sum()), float(pace.took_ns.sum())
    assert Progress(pace, 0.0).worked(0.0, turns * work) == pytest.approx(turns * took, rel=1e-6, abs=1e-3)


def test_a_steady_machine_takes_what_is_typical() -> None:
    server = Progress(STEADY, 1234.0)
    assert server.worked(1e10, 5e4) == pytest.approx(1e10 + 5e4)
    assert (STEADY.speed, STEADY.slowest, STEADY.longest_us, STEADY.busy) == (1.0, 1.0, 0.0, False)


def test_what_is_told_of_a_pace() -> None:
    # A second as usual but for a stall of 30 ms, and a fifth at half the speed.
    took = np.array([*[1e6] * 500, 31e6, *[1e6] * 469, *[2e6] * 100])
    pace = Pace(took, np.full(took.size, 1e6))
    assert pace.seconds == pytest.approx(1.2)
    assert pace.speed == pytest.approx(1.07 / 1.2)
    assert pace.slowest == pytest.approx(0.5)
    assert pace.longest_us == pytest.approx(30_000)
    assert not pace.busy
    assert (pace + Pace(np.array([1e9]), np.array([3e8]))).busy
