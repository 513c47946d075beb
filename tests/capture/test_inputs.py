"""Seeded draws: reproducible, of the declared dtype, inside the declared space."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.compiler.capture.inputs import BATCHES, draw, probes
from grandopt.signature import TensorSpec

BOUND = st.none() | st.integers(-50, 50) | st.sampled_from([3.4028235e38, -3.4028235e38])


@st.composite
def specs(drawing: st.DrawFn) -> TensorSpec:
    low, high = drawing(BOUND), drawing(BOUND)
    if low is not None and high is not None and low > high:
        low, high = high, low
    shape = tuple(drawing(st.lists(st.integers(1, 4), max_size=3)))
    dtype = drawing(st.sampled_from(["float32", "float64", "int64", "int32", "bool"]))
    if dtype.startswith("int"):
        low, high = (None if bound is None or abs(bound) > 50 else bound for bound in (low, high))
    return TensorSpec("x", shape, dtype, low, high)


@settings(max_examples=60)
@given(specs(), st.integers(1, 5), st.integers(0, 2**31))
def test_draws_fit_the_space(spec: TensorSpec, batch: int, seed: int) -> None:
    (values,) = draw((spec,), batch, seed)
    assert torch.equal(values, draw((spec,), batch, seed)[0])
    every = [values, *(probe.inputs[0] for probe in probes((spec,), seed))]
    low, high = spec.bounds()
    for tensor in every:
        assert str(tensor.dtype) == f"torch.{spec.dtype}"
        assert tuple(tensor.shape[1:]) == spec.shape
        if spec.dtype != "bool":
            kind = spec.dtype if spec.dtype.startswith("float") else "float64"
            assert (tensor.numpy() >= low.astype(kind)).all()
            assert (tensor.numpy() <= high.astype(kind)).all()


def test_probes_cover_batches_zeros_and_both_signs() -> None:
    made = probes((TensorSpec("x", (3,)),), seed=0)
    assert {probe.inputs[0].shape[0] for probe in made} >= set(BATCHES)
    assert any(bool((probe.inputs[0] == 0).all()) for probe in made)
    assert any(bool((probe.inputs[0] >= 100).all()) for probe in made)
    assert any(bool((probe.inputs[0] <= -100).all()) for probe in made)


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        (TensorSpec("x", (50,), "int64"), {0, 1}),
        (TensorSpec("x", (50,), "int64", low=2, high=4), {2, 3, 4}),
        (TensorSpec("x", (50,), "int32", high=9), {8, 9}),
        (TensorSpec("x", (50,), "bool"), {False, True}),
    ],
)
def test_whole_numbers_reach_all_that_is_allowed(spec: TensorSpec, allowed: set[int]) -> None:
    (values,) = draw((spec,), 4, seed=0)
    assert set(values.flatten().tolist()) == allowed


def test_bytes_without_bounds_cover_their_range() -> None:
    (values,) = draw((TensorSpec("x", (400,), "uint8"),), 4, seed=0)
    assert values.min() < 10
    assert values.max() > 245


def test_bounds_per_element_are_kept() -> None:
    (values,) = draw((TensorSpec("x", (2,), low=(0.0, 5.0), high=(1.0, 6.0)),), 100, seed=0)
    assert values[:, 0].max() <= 1.0
    assert values[:, 1].min() >= 5.0
