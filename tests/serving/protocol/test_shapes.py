"""Shapes that clients make up: refused in words by every way in, never an error of NumPy's."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.serving.grpc.contents import read_contents
from grandopt.serving.http.infer_request import asked
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.tensors import from_json
from grandopt.serving.protocol.datatypes import MOST_ELEMENTS, element_count, from_raw
from grandopt.serving.protocol.errors import Code, ProtocolError

SIZES = st.sampled_from(
    [0, 1, 2, 3, 1 << 20, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
)
SHAPES = st.lists(SIZES, max_size=32).map(tuple)
DATATYPES = st.sampled_from(["FP32", "FP64", "INT8", "UINT64", "BOOL"])


def through_http(shape: tuple[int, ...], datatype: str, raw: bytes) -> object:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    request = asked("m", "", orjson.dumps({"inputs": [tensor]}), HttpLimits()).request(raw)
    return request.inputs[0].data


def outcome(way: Callable[[], object]) -> object:
    try:
        return way()
    except ProtocolError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(SHAPES, DATATYPES, st.integers(0, 24))
def test_a_shape_is_that_of_the_numbers_or_refused(shape: tuple[int, ...], datatype: str, count: int) -> None:
    for way in (
        lambda: through_http(shape, datatype, bytes(count)),
        lambda: from_raw(bytes(count), datatype, shape, "x"),
        lambda: from_json([False if datatype == "BOOL" else 0] * count, datatype, shape, "x"),
        lambda: read_contents(b"", datatype, shape, "x"),
    ):
        found = outcome(way)
        if isinstance(found, ProtocolError):
            assert found.code is Code.INVALID
            assert "\n" not in str(found)
        else:
            assert getattr(found, "shape", None) == shape


def test_the_limit_is_said() -> None:
    assert element_count((0, 3, 1 << 20), "x") == 0
    with pytest.raises(ProtocolError, match=rf"input 'x': shape \[0, .* has at most {MOST_ELEMENTS}"):
        element_count((0, 1 << 40, 1 << 40), "x")
