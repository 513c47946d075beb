"""Tensors in JSON: numbers as lists, nested or flat."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import orjson

from grandopt.serving.protocol.datatypes import BYTES, DTYPES, element_count
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import OutputTensor
from grandopt.signature import Array

NOT_IN_JSON = frozenset({"FP16", "BF16"})
_NUMBERS, _WHOLE, _TRUTH = frozenset({int, float}), frozenset({int}), frozenset({bool})
_TAKES = {"FP32": _NUMBERS, "FP64": _NUMBERS, "BOOL": _TRUTH}
"""The types of values that each datatype takes; the others take whole numbers."""
_WORDS = {_NUMBERS: "numbers", _WHOLE: "whole numbers", _TRUTH: "true and false"}


def from_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """The tensor [*shape] of a list of numbers in row-major order, or of lists nested as the shape says.

    Raises ProtocolError for a datatype that JSON does not have, values of another kind or that the datatype
    cannot hold, and another number of them.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None or datatype in NOT_IN_JSON:
        raise ProtocolError(Code.INVALID, _no_datatype(datatype, name))
    if type(data) is not list:
        raise ProtocolError(Code.INVALID, f"input {name!r}: data must be a list, got {_shown(data)}")
    # The types are looked at one by one: NumPy would read "1" and true as numbers, and null as NaN.
    types = set(map(type, data))
    if list in types:
        data, types = _flat(data, shape, name)
    takes = _TAKES.get(datatype, _WHOLE)
    if not types <= takes:
        raise ProtocolError(Code.INVALID, f"input {name!r}: {datatype} takes {_WORDS[takes]} in data")
    wanted = element_count(shape, name)
    if len(data) != wanted:
        raise ProtocolError(
            Code.INVALID, f"input {name!r}: {list(shape)} takes {wanted} values, got {len(data)}"
        )
    try:
        if takes is _WHOLE and data:
            limits: Any = np.iinfo(dtype)
            if min(data) < limits.min or max(data) > limits.max:  # NumPy 1 lets them wrap around
                raise OverflowError
        with np.errstate(over="raise"):
            return np.array(data, dtype).reshape(shape)
    except (OverflowError, FloatingPointError):
        raise ProtocolError(
            Code.INVALID, f"input {name!r}: a number in data is too large for {datatype}"
        ) from None


def _flat(data: list[Any], shape: tuple[int, ...], name: str) -> tuple[list[Any], set[type]]:
    """The values of lists that are nested as `shape` says, and their types."""
    types = set(map(type, data))
    for depth, size in enumerate(shape):
        if depth:
            if types != {list} or any(len(one) != size for one in data):
                break
            data = list(chain.from_iterable(data))
            types = set(map(type, data))
        elif len(data) != size:
            break
    else:
        return data, types
    raise ProtocolError(Code.INVALID, f"input {name!r}: data is neither flat nor nested as {list(shape)}")


def to_json(output: OutputTensor) -> bytes:
    """The values of an output as a flat JSON list; raises ProtocolError for what JSON does not have."""
    data = output.data
    assert data is not None, "a tensor in shared memory has no data in an answer"
    if output.datatype == BYTES:
        return _texts(output)
    if output.datatype in NOT_IN_JSON:
        raise _only_binary(output, f"{output.datatype} is not in JSON")
    text = orjson.dumps(data.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
    # NaN and infinities are written as null, and nothing else is.
    if b"u" in text and data.dtype.kind == "f":
        raise _only_binary(output, "a value is not finite, which JSON cannot say")
    return text


def _texts(output: OutputTensor) -> bytes:
    assert output.data is not None
    try:
        return orjson.dumps([one.decode() for one in output.data.ravel()])
    except UnicodeDecodeError:
        raise _only_binary(output, "a value is no UTF-8") from None


def _only_binary(output: OutputTensor, why: str) -> ProtocolError:
    return ProtocolError(
        Code.INVALID,
        f"output {output.name!r}: {why}; ask for it as bytes: "
        '"parameters": {"binary_data": true} of the output',
    )


def _no_datatype(datatype: str, name: str) -> str:
    if datatype in NOT_IN_JSON:
        return f"input {name!r}: {datatype} is not in JSON; send bytes after the JSON text (binary_data_size)"
    known = ", ".join(one for one in DTYPES if one not in NOT_IN_JSON)
    return f"input {name!r}: datatype {datatype!r:.40} is none of {known}"


def _shown(value: Any) -> str:
    return f"{orjson.dumps(value).decode():.40}"
