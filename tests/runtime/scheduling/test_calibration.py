"""What a batch costs: the line through times."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.calibration import (
    HANDLING_NS,
    MOST,
    SIZES,
    BatchCost,
    cheapest_of,
    fitted,
    measure_cost,
)
from grandopt.signature import Array, Signature, TensorSpec


@given(st.floats(1, 1e6), st.floats(0, 1e7))
def test_a_line_is_found_again(per_observation: float, fixed: float) -> None:
    cost = fitted({size: per_observation * size + fixed for size in SIZES})
    for size in SIZES:
        assert cost.of(size) == pytest.approx(per_observation * size + fixed, rel=1e-6)
    assert 1 <= cost.limit <= MOST


@given(st.dictionaries(st.sampled_from(SIZES[1:]), st.floats(1, 1e9)), st.floats(1, 1e9))
def test_no_time_is_negative(times: dict[int, float], single: float) -> None:
    cost = fitted({1: single, **times})
    assert cost.per_observation_ns >= 0
    assert cost.fixed_ns >= 0
    assert cost.single_ns == single


@pytest.mark.parametrize(
    ("each", "fixed", "limit"),
    [(1.6e6, 0.0, 1), (2e4, 0.0, 32), (2e4, 5e4, 128), (100.0, 0.0, MOST), (1e6, 1e9, MOST)],
)
def test_a_batch_is_large_enough_when_little_of_it_is_fixed(each: float, fixed: float, limit: int) -> None:
    found = BatchCost(each, fixed, each + fixed).limit
    assert found == limit
    if 1 < found < MOST:
        assert fixed + HANDLING_NS <= 0.05 * each * found < 2 * (fixed + HANDLING_NS)


def test_the_size_from_which_on_rows_cost_more() -> None:
    assert cheapest_of({1: 10.0, 4: 16.0, 16: 40.0, 64: 320.0}) == 16
    assert cheapest_of({1: 10.0, 4: 16.0, 16: 40.0}) is None  # larger ones were not measured
    assert cheapest_of({1: 10.0, 4: 40.0, 16: 165.0}) is None  # within the noise
    assert fitted({1: 10.0, 4: 16.0, 16: 40.0, 64: 320.0}).cheapest == 16


class Counting(Executor):
    """A batch takes 1000 ns and 10 for each row by `now`, a call with one observation 300."""

    def __init__(self) -> None:
        super().__init__(Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),)))
        self.now = 0

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self.now += 1000 + 10 * len(inputs[0])
        return (inputs[0],)

    def __call__(self, *observation: Array) -> Array:
        self.now += 300
        return observation[0]


def test_a_single_call_is_timed_as_it_is_made() -> None:
    agent = Counting()
    cost = measure_cost(agent, clock=lambda: agent.now)
    assert cost.single_ns == 300
    assert cost.per_observation_ns == pytest.approx(10)
    assert cost.fixed_ns == pytest.approx(1000)
