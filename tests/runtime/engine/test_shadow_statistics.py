"""The draws, the comparison and the interval that a shadow's report is made of."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.engine.disagreement import Disagreement
from grandopt.runtime.engine.proportion import interval
from grandopt.runtime.engine.row_sampler import RowSampler
from grandopt.signature import ActionKind, Contract, Role, Signature, StateTensor, TensorSpec

ONE = TensorSpec("x", (2,))


def chance(found: range, of: int, p: float) -> float:
    return sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in found)


@given(st.integers(1, 300), st.data())
def test_the_bounds_are_where_the_tails_hold_half_a_percent(of: int, data: st.DataObject) -> None:
    found = data.draw(st.integers(0, of))
    low, high = interval(found, of)
    assert 0 <= low <= found / of <= high <= 1
    if found > 0:
        assert chance(range(found, of + 1), of, low) == pytest.approx(0.005, rel=1e-6)
    if found < of:
        assert chance(range(found + 1), of, high) == pytest.approx(0.005, rel=1e-6)


def test_intervals_of_large_samples_and_of_none() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(10_000, 1_000_000)
    assert (low, high) == pytest.approx((0.01 - 2.576e-4, 0.01 + 2.576e-4), abs=5e-6)
    with pytest.raises(ValueError, match="5 of 4"):
        interval(5, 4)


@pytest.mark.parametrize("p", [0.001, 0.01, 0.3])
def test_the_interval_holds_the_truth_as_often_as_it_says(p: float) -> None:
    of = 200
    intervals = [interval(k, of) for k in range(of + 1)]
    held = [k for k, (low, high) in enumerate(intervals) if low <= p <= high]
    assert chance(range(held[0], held[-1] + 1), of, p) >= 0.99
    assert len(held) == held[-1] - held[0] + 1


@given(st.lists(st.integers(1, 50), max_size=40), st.floats(0.01, 1.0), st.integers(0, 999))
def test_which_rows_are_drawn_does_not_depend_on_the_batches_they_come_in(
    batches: list[int], share: float, seed: int
) -> None:
    sampler, other = (RowSampler(share, random.Random(seed)) for _ in range(2))
    drawn, start = [], 0
    for rows in batches:
        drawn += [start + place for place in sampler.places(rows)]
        start += rows
    assert drawn == (other.places(start) if start else [])


def test_rows_are_drawn_with_the_probability_asked_for() -> None:
    sampler = RowSampler(0.1, random.Random(1))
    counts = np.zeros(8)
    for _ in range(20_000):
        counts[sampler.places(8)] += 1
    assert np.abs(counts / 20_000 - 0.1).max() < 0.01  # 4.7 standard deviations
    sampler.sample(1.0)
    assert sampler.places(5) == [0, 1, 2, 3, 4]


def test_the_interval_holds_a_share_of_one_percent_however_rows_follow_one_another() -> None:
    # Altered decisions come in runs of 20 in the same batch, which sampling by batches would fall for.
    altered = np.tile(np.repeat([True, False], [20, 1980]), 20)
    held = 0
    for seed in range(100):
        sampler, found, of = RowSampler(0.1, random.Random(seed)), 0, 0
        for start in range(0, len(altered), 64):
            batch = altered[start : start + 64]
            places = sampler.places(len(batch))
            found, of = found + int(batch[places].sum()), of + len(places)
        low, high = interval(found, of)
        held += low <= 0.01 <= high
    assert held >= 96


def differing(
    role: Role, action: ActionKind, live: list[object], other: list[object], dtype: str = "float32"
) -> list[bool]:
    ours, theirs = np.array(live, dtype), np.array(other, dtype)
    signature = Signature((ONE,), (TensorSpec("y", ours.shape[1:], dtype, role=role),))
    contract = (
        Contract(action=action, low=(-1.0,), high=(1.0,)) if action == "continuous" else Contract(action)
    )
    return Disagreement(signature, contract).rows([ours], [theirs]).tolist()  # type: ignore[no-any-return]


def test_a_decision_differs_where_it_is_another() -> None:
    assert differing("action", "argmax", [[1], [2]], [[1], [3]], "int64") == [False, True]
    assert differing("action", "binary", [[1.0, 0.0]], [[1.0, 1.0]]) == [True]
    assert differing("scores", "argmax", [[0.6, 0.4], [0.6, 0.4]], [[0.51, 0.49], [0.4, 0.6]]) == [
        False,
        True,
    ]
    assert differing("value", "none", [[0.6, 0.4], [0.6, 0.4]], [[0.51, 0.49], [0.4, 0.6]]) == [False, True]
    # Within 1 % of the range of 2; beyond the bounds nothing is off.
    assert differing("action", "continuous", [[0.0], [0.0], [3.0]], [[0.019], [0.021], [1.5]]) == [
        False,
        True,
        False,
    ]


def test_nan_and_infinity_differ_from_everything_else() -> None:
    nan, inf = math.nan, math.inf
    live: list[object] = [[nan], [1.0], [inf], [inf], [nan]]
    other: list[object] = [[nan], [nan], [inf], [-inf], [0.0]]
    assert differing("action", "continuous", live, other) == [False, True, False, True, True]


def test_errors_are_summed_over_what_is_finite() -> None:
    signature = Signature((ONE,), (TensorSpec("y", (2,)),))
    compare = Disagreement(signature, Contract())
    compare.rows([np.float32([[3, 4]])], [np.float32([[3, 5]])])
    compare.rows([np.float32([[math.nan, 0]])], [np.float32([[1, 0]])])
    assert compare.squares == {"y": (1.0, 25.0)}


def test_the_state_of_an_agent_is_no_decision() -> None:
    signature = Signature((ONE, TensorSpec("h", (1,))), (TensorSpec("y", (2,)), TensorSpec("h1", (1,))))
    compare = Disagreement(signature, Contract(state=(StateTensor("h", "h1"),)))
    y = np.float32([[1, 0]])
    assert compare.rows([y, np.float32([[1]])], [y, np.float32([[2]])]).tolist() == [False]
