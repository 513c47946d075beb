"""The numbers behind a verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from grandopt.signature import Contract
from grandopt.verification.known import decisions, relative_margins
from grandopt.verification.tolerance import (
    FACTOR,
    FLOOR,
    Spread,
    float32_bounds,
    float32_limit,
    spread,
)

sizes = st.floats(0.0, 1e6)
matrices = arrays(np.float64, (40, 3), elements=st.floats(-1e6, 1e6))


def passes(candidate: Spread, original: Spread, drawn: Spread | None = None) -> bool:
    return all(bound.usage <= 1 for bound in float32_bounds(candidate, original, drawn))


@given(sizes, sizes, sizes, sizes)
def test_a_worse_original_or_a_larger_scale_never_tightens_the_limit(
    error: float, more: float, scale: float, larger: float
) -> None:
    limit = float32_limit(error, scale)
    assert float32_limit(error + more, scale) >= limit
    assert float32_limit(error, scale + larger) >= limit
    assert limit == FACTOR * error + FLOOR * scale


@given(matrices, matrices, st.floats(0, 1), st.floats(1, 10))
def test_what_passes_still_passes_when_it_moves_closer(
    truth: np.ndarray, noise: np.ndarray, nearer: float, factor: float
) -> None:
    original = spread(truth + noise, truth)
    far = spread(truth + noise * factor, truth)
    near = spread(truth + noise * factor * nearer, truth)
    if passes(far, original):
        assert passes(near, original)
    assert near.relative_l2 <= far.relative_l2 * (1 + 1e-6) or far.relative_l2 < 1e-9


@given(matrices, matrices)
def test_the_original_always_passes(truth: np.ndarray, noise: np.ndarray) -> None:
    own = spread(truth + noise, truth)
    assert passes(own, own)
    assert passes(own, own, own)


def test_one_huge_row_does_not_excuse_errors_in_the_others() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(100, 4))
    truth[7] *= 1e6
    original = truth.astype(np.float32)
    wrong = truth * (1 + 1e-3 * rng.uniform(-1, 1, truth.shape))
    wrong[7] = original[7]
    own, found = spread(original, truth), spread(wrong, truth)
    assert found.error < float32_limit(own.error, own.scale)
    assert not passes(found, own)


def test_a_small_group_borrows_the_yardstick_of_the_drawn_one() -> None:
    drawn = spread(np.array([[1.0 + 3e-6]]), np.array([[1.0]]))
    lucky = spread(np.array([[0.5]]), np.array([[0.5]]))
    plausible = spread(np.array([[0.5 + 4e-6]]), np.array([[0.5]]))
    assert passes(plausible, lucky, drawn)
    assert not passes(spread(np.array([[0.5 + 4e-5]]), np.array([[0.5]])), lucky, drawn)


def test_a_spread_counts_only_what_is_finite() -> None:
    truth = np.array([[1.0, np.nan], [np.inf, 2.0]])
    found = spread(np.array([[1.5, np.nan], [np.inf, 2.0]], np.float32), truth)
    assert (found.error, found.scale, found.row) == (0.5, 2.0, 0)
    assert found.relative_l2 == pytest.approx(0.5 / np.sqrt(5))


def test_an_error_where_the_reference_is_zero_is_infinite() -> None:
    zero = np.zeros((2, 2))
    assert spread(zero + 1e-9, zero).relative_l2 == np.inf
    assert spread(zero, zero).relative_l2 == 0.0


def test_margins_are_relative_to_the_largest_score() -> None:
    scores = np.array([[1000.0, 999.0, 0.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 2.0], [0.02, 0.01, 0.0]])
    margins = relative_margins(Contract("argmax"), scores, 1.0)
    assert margins[[0, 1, 3]] == pytest.approx([1e-3, 0.0, 0.01])
    assert np.isnan(margins[2])
    assert relative_margins(Contract("argmax"), scores, 0.0)[3] == pytest.approx(0.5)


def test_decisions_of_groups_and_bits() -> None:
    scores = np.array([[1.0, 2.0, 5.0, 4.0, 3.0]])
    assert decisions(Contract("argmax", groups=(2, 3)), scores).tolist() == [[1, 0]]
    assert decisions(Contract("argmax"), scores).tolist() == [[2]]
    assert decisions(Contract("binary"), scores - 3).tolist() == [[False, False, True, True, False]]
    assert relative_margins(Contract("argmax", groups=(2, 3)), scores, 0.0) == pytest.approx([0.2])
    assert relative_margins(Contract("argmax", groups=(1,)), scores[:, :1], 0.0) == [np.inf]
