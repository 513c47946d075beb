"""Keys of cached answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from grandopt.errors import SignatureError
from grandopt.runtime.cache.keys import PREFIX_BYTES, InputKeys, prefix_of

values = arrays(np.float32, (2, 6), elements=st.floats(-10, 10, width=32))


@given(values, values)
def test_keys_are_equal_exactly_if_the_bytes_are(
    one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]
) -> None:
    keys = InputKeys("digest")
    same = one.tobytes() == two.tobytes()
    assert (keys.key([one]) == keys.key([two])) is same
    assert (keys.key([one, two]) == keys.key([two, one])) is same


@given(values)
def test_layout_in_memory_does_not_matter(array: np.ndarray[Any, Any]) -> None:
    keys = InputKeys("digest")
    padded = np.empty((2, 9), np.float32)
    padded[:, :6] = array
    key = keys.key([array])
    for other in (array.copy(), np.asfortranarray(array), padded[:, :6], array[::-1][::-1]):
        assert keys.key([other]) == key
        assert InputKeys("digest").key([other]) == key


def test_dtype_shape_byte_order_and_partition_matter() -> None:
    zeros = np.zeros(12, np.float32)
    variants = [
        [zeros],
        [zeros.reshape(3, 4)],
        [zeros.reshape(4, 3)],
        [zeros.reshape(1, 12)],
        [zeros.view(np.int32)],
        [zeros.view(np.float64)],
        [zeros.astype(">f4")],
        [zeros[:6], zeros[6:]],
        [zeros[:4], zeros[4:]],
        [zeros[:0], zeros],
        [],
    ]
    keys = InputKeys("digest")
    assert len({keys.key(inputs) for inputs in variants}) == len(variants)
    assert [keys.key(inputs) for inputs in variants] == [InputKeys("digest").key(v) for v in variants]


def test_artifacts_have_keys_of_their_own_under_their_prefix() -> None:
    array = np.ones((1, 152), np.float32)
    one, two = (InputKeys(digest).key([array]) for digest in ("one", "two"))
    assert one != two
    assert one.startswith(prefix_of("one"))
    assert len(prefix_of("one")) == PREFIX_BYTES
    assert one[PREFIX_BYTES:] == two[PREFIX_BYTES:]


def test_objects_have_no_key() -> None:
    with pytest.raises(SignatureError, match="object"):
        InputKeys("digest").key([np.array([object()])])
