"""Values as bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from grandopt.errors import CacheError
from grandopt.runtime.cache.codec import decode, encode
from grandopt.runtime.cache.opener import opener

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 80), 1 << 80),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
containers = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(scalars, inner, max_size=4),
    ),
    max_leaves=12,
)
numbers = scalar_dtypes().filter(lambda dtype: dtype.kind in "?biufc" and dtype.itemsize <= 16)
any_array = numbers.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_side=5, min_side=0)))


def kinds(value: Any) -> Any:
    """The types of a value and of all in it: True == 1 == 1.0 must not pass for the same."""
    if isinstance(value, (list, tuple)):
        return type(value), [kinds(item) for item in value]
    if isinstance(value, dict):
        return dict, [(kinds(key), kinds(item)) for key, item in value.items()]
    return type(value)


def complaint(data: bytes) -> str:
    """What reading `data` raises, if that is a CacheError; nothing when it gives a value."""
    try:
        decode(data)
    except CacheError as error:
        return str(error)
    return ""


@given(containers)
def test_scalars_and_containers_come_back_with_their_types(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert kinds(back) == kinds(value)


def test_integers_longer_than_decimal_text_may_be_come_back() -> None:
    assert decode(encode(-(10**5000))) == -(10**5000)


@given(any_array)
def test_arrays_come_back_bit_for_bit_and_read_only(array: np.ndarray[Any, Any]) -> None:
    back = decode(encode({"a": [array]}))["a"][0]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        back.flags.writeable = True


def test_strided_arrays_and_scalars_come_back() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array)):
        np.testing.assert_array_equal(decode(encode(view)), view)
    back = decode(encode(np.float32(1.5)))
    assert type(back) is np.float32
    assert back == 1.5


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_come_back_as_copies(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.5, -2.0, 0.0], [1.0, 3.0, -1.0]]).to(dtype).T
    data = encode((tensor, tensor[0, 0]))
    back, element = decode(data)
    assert torch.equal(back, tensor)
    assert back.dtype == element.dtype == dtype
    assert element.shape == ()
    back.zero_()
    assert torch.equal(decode(data)[0], tensor)


@given(value=containers | any_array, place=st.integers(0, 1 << 16), change=st.integers(0, 255))
def test_damaged_bytes_give_a_value_or_one_error(value: Any, place: int, change: int) -> None:
    data = bytearray(encode(value))
    data[place % len(data)] = change
    for damaged in (bytes(data), bytes(data[: place % len(data)]), bytes(data) + b"N"):
        assert complaint(damaged).count("\n") == 0


@given(st.binary(max_size=64))
def test_foreign_bytes_give_a_value_or_one_error(data: bytes) -> None:
    assert complaint(b"\x01" + data).count("\n") == 0
    with pytest.raises(CacheError, match="format"):
        decode(b"\x02" + data)


class Dictionary(dict[str, int]):
    """A dict that is not only a dict."""


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        [1, (2, {"a": object()})],
        Dictionary(a=1),
        {(1, 2): 3},
        np.array([object()]),
        np.array(["text"]),
        np.ma.masked_array([1, 2], [True, False]),
        np.array(["2020"], "M8[Y]"),
        torch.nn.Parameter(torch.zeros(2)),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
        lambda: None,
    ],
)
def test_other_values_are_refused_with_their_place(value: Any) -> None:
    with pytest.raises(CacheError, match="cannot be cached") as caught:
        encode({"answer": value})
    assert str(caught.value).startswith("value['answer']")


def test_endless_nesting_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(CacheError, match="containers within each other"):
        encode(nested)


def assert_same(value: Any, other: Any) -> None:
    """Equal in type and bits, through tuples."""
    assert type(value) is type(other)
    if isinstance(value, tuple):
        assert len(value) == len(other)
        for one, two in zip(value, other, strict=True):
            assert_same(one, two)
    else:
        assert encode(value) == encode(other)


@given(st.recursive(scalars | any_array, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6))
def test_an_opener_gives_each_caller_the_value(value: Any) -> None:
    hand_out = opener(encode(value))
    first, second = hand_out(), hand_out()
    assert_same(first, decode(encode(value)))
    assert_same(second, first)
    if isinstance(value, tuple):
        arrays = [item for item in first if isinstance(item, np.ndarray)]
        others = [item for item in second if isinstance(item, np.ndarray)]
        assert not any(one is two for one, two in zip(arrays, others, strict=True))
