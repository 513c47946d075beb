"""Draws, cases and the ring of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import VerificationError
from grandopt.signature import DTYPES, Signature, TensorSpec
from grandopt.verification.inputs import RING, cases, draw, ring

# Bounds that every floating-point dtype holds: between others there may be no number to draw.
finite = st.floats(-1000, 1000, width=16)


@st.composite
def specs(build: st.DrawFn) -> TensorSpec:
    dtype = build(st.sampled_from(sorted(DTYPES - {"bool"})))
    low = build(st.none() | finite)
    high = build(st.none() | finite)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        low = None if low is None else float(np.clip(np.floor(low), info.min, info.max - 1))
        high = None if high is None else float(np.clip(np.ceil(high), info.min + 1, info.max))
    if low is not None and high is not None and low > high:
        low, high = high, low
    return TensorSpec("x", build(st.sampled_from([(), (3,), (2, 4)])), dtype, low, high)


@settings(max_examples=200)
@given(specs(), st.integers(0, 99))
def test_draws_lie_in_the_declared_space(spec: TensorSpec, seed: int) -> None:
    values = draw(spec, 17, np.random.default_rng(seed))
    low, high = spec.bounds()
    assert values.shape == (17, *spec.shape)
    assert values.dtype == spec.dtype
    assert (values.astype(np.float64) >= low).all()
    assert (values.astype(np.float64) <= high).all()


@settings(max_examples=100)
@given(specs(), st.integers(0, 99))
def test_no_case_but_the_special_ones_leaves_the_space(spec: TensorSpec, seed: int) -> None:
    low, high = spec.bounds()
    for case in cases(Signature((spec,)), seed=seed):
        (array,) = case.inputs
        assert array.dtype == spec.dtype
        if case.kind != "special":
            assert (array.astype(np.float64) >= low).all(), case.name
            assert (array.astype(np.float64) <= high).all(), case.name


def test_bounds_per_element_are_met_per_element() -> None:
    spec = TensorSpec("x", (3,), low=(0.0, -5.0, -np.inf), high=(1.0, np.inf, 2.0))
    values = draw(spec, 4000, np.random.default_rng(0))
    assert abs(values[:, 0].mean() - 0.5) < 0.02
    assert -5 <= values[:, 1].min() < -4.9
    assert values[:, 1].max() > -3
    assert 1.9 < values[:, 2].max() <= 2


def test_an_enormous_bound_is_no_bound() -> None:
    spec = TensorSpec("x", (2,), low=-3.4028235e38, high=3.4028235e38)
    values = draw(spec, 1000, np.random.default_rng(0))
    assert abs(values.std() - 1.0) < 0.1


def test_whole_numbers_fill_their_range() -> None:
    rng = np.random.default_rng(0)
    assert set(np.unique(draw(TensorSpec("x", (), "int64", 0, 4), 500, rng))) == {0, 1, 2, 3, 4}
    image = draw(TensorSpec("x", (64, 64), "uint8"), 4, rng)
    assert (image.min(), image.max()) == (0, 255)
    assert set(np.unique(draw(TensorSpec("x", (), "bool"), 100, rng))) == {False, True}


def test_the_same_seed_draws_the_same_cases() -> None:
    signature = Signature((TensorSpec("x", (3,)),))
    one, two, other = (cases(signature, seed=seed) for seed in (5, 5, 6))
    assert all(
        np.array_equal(a.inputs[0], b.inputs[0], equal_nan=True) for a, b in zip(one, two, strict=True)
    )
    assert not np.array_equal(one[0].inputs[0], other[0].inputs[0])


def test_cases_cover_batches_edges_and_specials() -> None:
    signature = Signature((TensorSpec("x", (3,)), TensorSpec("y", (2,), low=-1, high=1)))
    found = {case.name: case for case in cases(signature)}
    assert {1, 2, 7, 32} <= {case.batch for case in found.values() if case.kind == "drawn"}
    assert not found["zeros"].inputs[0].any()
    assert np.abs(found["large values"].inputs[0]).max() == 1e4
    assert np.abs(found["large values"].inputs[1]).max() == 1.0
    assert found["large values"].kind == "beyond"
    tiny = np.abs(found["denormals"].inputs[0])
    assert (tiny < np.finfo(np.float32).tiny).all()
    assert (tiny > 0).all()
    special = found["NaN in some rows"].inputs
    broken = [np.isnan(array).reshape(len(array), -1).any(axis=1).tolist() for array in special]
    assert broken == [[False, True, False, True, False], [False, False, True, True, False]]
    assert found["NaN alone"].batch == 1


def test_the_corners_of_a_bounded_space_are_part_of_it() -> None:
    found = {case.name: case for case in cases(Signature((TensorSpec("x", (3,), low=-2, high=3),)))}
    assert found["large values"].kind == "edge"
    assert set(np.unique(found["large values"].inputs[0])) <= {-2.0, 3.0}


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (TensorSpec("x", (3,), "int64"), "beyond"),
        (TensorSpec("x", (3,), "int64", low=0, high=9), "edge"),
        (TensorSpec("x", (3,), "uint8"), "edge"),
    ],
)
def test_whole_numbers_that_nobody_bounds_may_be_more_than_the_agent_takes(
    spec: TensorSpec, kind: str
) -> None:
    """Such as rows of a table: what the original refuses is left out then."""
    assert {case.name: case for case in cases(Signature((spec,)))}["large values"].kind == kind


def test_whole_numbers_have_no_special_cases() -> None:
    found = cases(Signature((TensorSpec("x", (), "int64", 0, 15),)))
    assert {case.kind for case in found} == {"drawn", "beyond", "edge"} - {"beyond"}


def test_an_agent_without_inputs_is_refused() -> None:
    with pytest.raises(VerificationError, match="without inputs"):
        cases(Signature(()))


@pytest.mark.parametrize("count", [1, 5, 42, 43, 128, 300])
def test_all_samples_are_used(count: int) -> None:
    signature = Signature((TensorSpec("x", (2,)),))
    samples = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    drawn = [case for case in cases(signature, samples=(samples,)) if case.kind == "drawn"]
    assert [case.batch for case in drawn[:4]] == [1, 2, 7, 32]
    seen = {tuple(row) for case in drawn for row in case.inputs[0].tolist()}
    assert seen == {tuple(row) for row in samples.tolist()}


def test_a_ring_of_draws_holds_distinct_samples() -> None:
    (array,) = ring(Signature((TensorSpec("x", (4,)),)), count=10, batch=3)
    assert array.shape == (RING * 3, 4)
    assert len(np.unique(array, axis=0)) == len(array)


def test_few_samples_are_repeated_with_a_tiny_jitter_within_bounds() -> None:
    spec = TensorSpec("x", (3,), low=-1, high=1)
    samples = np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
    samples[0] = 1.0
    (array,) = ring(Signature((spec,)), samples=(samples,))
    assert np.array_equal(array[:20], samples)
    assert len(np.unique(array, axis=0)) == RING
    assert np.abs(array).max() <= 1.0
    assert np.abs(array - samples[np.arange(RING) % 20]).max() <= 1e-4


def test_many_samples_and_whole_numbers_are_repeated_as_they_are() -> None:
    many = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    (array,) = ring(Signature((TensorSpec("x", (2,)),)), samples=(many,), batch=2)
    assert np.array_equal(array, many[np.arange(512) % 300])
    few = np.arange(5)
    (whole,) = ring(Signature((TensorSpec("x", (), "int64"),)), samples=(few,))
    assert np.array_equal(whole, few[np.arange(RING) % 5])
