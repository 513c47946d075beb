"""What is given goes in with every value it has, or not at all."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from grandopt.errors import SignatureError
from grandopt.runtime.executors.observation import as_arrays
from grandopt.signature import DTYPES, Array, Signature, TensorSpec

GIVEN = ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g")
PAIRS = list(itertools.product([*GIVEN, *(f">{code}" for code in "hHiIqQefd")], sorted(DTYPES)))


def prepared(dtype: str, value: Any, shape: tuple[int, ...] = (1,)) -> Array:
    (array,), _ = Signature((TensorSpec("state", shape, dtype),)).prepare((value,))
    return array[0]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", np.array([2**40 + 5])),
        ("uint8", np.array([300])),
        ("uint8", np.array([-1])),
        ("int8", np.array([200], "i2")),
        ("int64", np.array([2**63 + 1], "u8")),
        ("float32", np.array([1e300])),
        ("float16", np.array([1e6], "f4")),
        ("float16", np.array([70000])),
        ("float32", np.array([2**60 + 1])),
        ("float32", np.array([-(2**24) - 1])),
        ("float64", np.array([2**63 - 1])),
        ("float64", np.array([2**64 - 1], "u8")),
        ("uint8", np.array([1000], "u2")),
    ],
    ids=lambda value: str(value),
)
def test_a_value_that_would_be_lost_is_named(dtype: str, value: Array) -> None:
    text = f"state: the value {value[0]!s} of dtype {value.dtype} is none of dtype {dtype}"
    with pytest.raises(SignatureError, match=re.escape(text)):
        prepared(dtype, value)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", np.array([2**31 - 1])),
        ("uint8", np.array([255])),
        ("uint8", [7]),
        ("int8", np.array([-128], "i8")),
        ("int64", np.array([2**63 - 1], "u8")),
        ("float32", np.array([2**60])),
        ("float32", np.array([True])),
        ("float16", np.array([2048], "u2")),
        ("float64", np.array([-(2**63)])),
    ],
    ids=lambda value: str(value),
)
def test_a_whole_number_goes_where_it_exists(dtype: str, value: Any) -> None:
    got = prepared(dtype, value)
    assert got.dtype == dtype
    assert int(got[0]) == int(value[0])


def test_floats_are_rounded_and_keep_what_is_not_finite() -> None:
    value = np.array([1 / 3, 1e-300, -0.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(prepared("float32", value, (6,)), value.astype("f4"))
    assert np.signbit(prepared("float32", value, (6,))[2])


@pytest.mark.parametrize(("code", "dtype"), PAIRS)
@settings(max_examples=12)
@given(data=st.data())
def test_every_pair_of_dtypes(code: str, dtype: str, data: Any) -> None:
    """Either the values come out as they are (floats: rounded), or one of them is refused by name."""
    value = data.draw(arrays.arrays(np.dtype(code), 3, unique=False))
    target = np.dtype(dtype)
    try:
        got = prepared(dtype, value, (3,))
    except SignatureError:
        kinds = value.dtype.kind + target.kind
        if (kinds[0] == "f" and kinds[1] != "f") or kinds[1] == "b":
            assert value.dtype != target
            return
        assert any(not _has(target, item) for item in value.tolist())
        return
    assert got.dtype == target
    assert got.flags.c_contiguous
    for before, after in zip(value, got, strict=True):
        if value.dtype.kind == "f":
            with np.errstate(over="ignore", under="ignore"):
                assert before.astype(target).tobytes() == after.tobytes()
            assert np.isinf(before) == np.isinf(after)
        else:
            assert int(before) == int(after)


def _has(dtype: np.dtype[Any], value: Any) -> bool:
    """Whether the dtype has this number, told in Python's own numbers."""
    if dtype.kind != "f":
        return bool(np.iinfo(dtype).min <= int(value) <= np.iinfo(dtype).max)
    if isinstance(value, (float, np.longdouble)):
        with np.errstate(over="ignore"):
            return bool(np.isfinite(dtype.type(value)) or not np.isfinite(value))
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(float(value)))
    return bool(np.isfinite(rounded)) and int(rounded) == int(value)


def test_layouts_are_copied() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    bytes_ = np.zeros(49, np.uint8)
    misaligned = bytes_[1:].view(np.float32).reshape(3, 4)
    misaligned[...] = whole[0]
    assert not misaligned.flags.aligned
    read_only = whole[0].copy()
    read_only.flags.writeable = False
    for value in (
        whole[0][::-1],
        whole[0][:, ::-1],
        np.asfortranarray(whole[0]),
        whole[0].astype(">f4"),
        np.broadcast_to(np.float32(1), (3, 4)),
        misaligned,
        read_only,
        whole[0].tolist(),
    ):
        got = prepared("float32", value, (3, 4))
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        assert got.flags.aligned
        np.testing.assert_array_equal(got, np.asarray(value, np.float32))


def test_what_fits_is_not_copied() -> None:
    value = np.ones((5, 4), np.float32)
    (array,), batched = Signature((TensorSpec("state", (4,)),)).prepare((value,))
    assert array is value
    assert batched


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "x", None], object),
        np.array([2**70], object),
        np.zeros(1, "M8[ns]"),
        np.zeros(1, "m8[s]"),
        np.zeros(1, [("a", "f4")]),
        np.zeros(1, "S4"),
        np.zeros(1, "U4"),
        np.zeros(1, "V4"),
        np.ones(1, complex),
        np.ma.masked_array([1.0], mask=[True]),
        [[1.0], [1.0, 2.0]],
        {"a": 1},
        None,
        "text",
        object(),
        iter([1.0]),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_what_is_no_array_of_numbers(value: Any) -> None:
    for dtype in ("float32", "int64", "bool"):
        with pytest.raises(SignatureError, match=r"^state: "):
            prepared(dtype, value)


def test_an_array_whose_mask_hides_nothing() -> None:
    assert prepared("float32", np.ma.masked_array([1.5], mask=[False]))[0] == 1.5


def through(value: Any, dtype: str = "float32", shape: tuple[int, ...] = (2,)) -> Array:
    (array,), _, tensors = as_arrays(Signature((TensorSpec("state", shape, dtype),)), (value,))
    assert tensors
    return array[0]


def test_tensors_that_are_converted() -> None:
    one = torch.tensor([1.5, -2.0])
    wanted = one.numpy()
    odd = [
        one.bfloat16(),
        one.to(torch.float8_e4m3fn),
        one.half(),
        one.double(),
        one.clone().requires_grad_(),
        torch.nn.Parameter(one.clone()),
        torch.stack([one, one]).t()[:, 0],
        torch.complex(torch.zeros(2), -one).conj().imag,
        torch.tensor([[1.5], [-2.0]]).expand(2, 3)[:, 1],
    ]
    for value in odd:
        np.testing.assert_array_equal(through(value), wanted)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, at making the odd ones
def test_tensors_that_are_refused() -> None:
    one = torch.tensor([1.5, -2.0])
    cases = [
        (one.to("meta"), "state: a tensor on the device 'meta' has no values"),
        (one.to_sparse(), r"state: .*sparse.*to_dense\(\)"),
        (torch.ones(2, 2).to_sparse_csr(), r"state: .*sparse.*to_dense\(\)"),
        (torch.nested.nested_tensor([one, one]), "state: is a nested tensor"),
        (torch.quantize_per_tensor(one, 0.5, 0, torch.qint8), r"state: is a quantized tensor.*dequantize"),
        (one.to(torch.complex64), "state: expected dtype float32, got complex64"),
        (torch.tensor([1e300, 0.0], dtype=torch.float64), "state: the value 1e.300 of dtype float64"),
    ]
    for value, message in cases:
        with pytest.raises(SignatureError, match=message):
            through(value)
