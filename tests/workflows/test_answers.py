"""Two builds that answer alike are told from two that do not, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature, TensorSpec
from grandopt.workflows.reproduce.answers import same_answers

SIGNATURE = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),))
ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


class Function(Executor):
    """Answers with a function of its input."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        super().__init__(SIGNATURE)
        self.function = function

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        assert inputs[0].shape == (1, 2)
        return (self.function(inputs[0]),)


def at_row(row: int, value: float) -> Callable[[Array], Array]:
    """The input, but for one row this value in the first place."""

    def answer(given: Array) -> Array:
        answer = given.copy()
        if given[0, 0] == ROWS[row, 0]:
            answer[0, 0] = value
        return answer

    return answer


def same(given: Array) -> Array:
    return given


def test_the_same_bits_are_identical() -> None:
    found = same_answers(Function(same), Function(same), (ROWS,))
    assert (found.observations, found.identical, found.largest, found.relative_l2) == (6, 6, 0.0, 0.0)


def test_a_difference_is_counted_and_sized() -> None:
    found = same_answers(Function(same), Function(at_row(2, 4.5)), (ROWS,))
    assert (found.identical, found.largest) == (5, 0.5)
    assert found.relative_l2 == pytest.approx(0.5 / np.linalg.norm(ROWS))


def test_a_negative_zero_is_another_bit_of_no_size() -> None:
    found = same_answers(Function(same), Function(at_row(0, -0.0)), (ROWS,))
    assert (found.identical, found.largest, found.relative_l2) == (5, 0.0, 0.0)


def test_nan_and_infinity_on_both_sides_are_alike() -> None:
    for value in (np.nan, np.inf):
        broken = Function(at_row(3, value))
        found = same_answers(broken, broken, (ROWS,))
        assert (found.identical, found.largest) == (6, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinity_on_one_side_has_no_size(value: float) -> None:
    for pair in ((same, at_row(3, value)), (at_row(3, value), same)):
        found = same_answers(Function(pair[0]), Function(pair[1]), (ROWS,))
        assert (found.identical, found.largest, found.relative_l2) == (5, None, None)


def test_another_dtype_is_not_the_same() -> None:
    found = same_answers(Function(same), Function(lambda given: given.astype(np.float64)), (ROWS,))
    assert (found.identical, found.largest) == (0, 0.0)
