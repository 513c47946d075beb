"""Typed contents of a tensor: lists of numbers, where a client does not send raw bytes."""

from __future__ import annotations

import numpy as np

from grandopt.serving.grpc.wire import BYTES, FOUR, VARINT, Value, fields, malformed, varints
from grandopt.serving.protocol.datatypes import BYTES as TEXTS
from grandopt.serving.protocol.datatypes import DTYPES, element_count
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.signature import Array

_FP32, _FP64, _TEXTS = 6, 7, 8
_LIST: dict[str, tuple[int, str]] = {
    "BOOL": (1, "bool_contents"),
    "INT8": (2, "int_contents"),
    "INT16": (2, "int_contents"),
    "INT32": (2, "int_contents"),
    "INT64": (3, "int64_contents"),
    "UINT8": (4, "uint_contents"),
    "UINT16": (4, "uint_contents"),
    "UINT32": (4, "uint_contents"),
    "UINT64": (5, "uint64_contents"),
    "FP32": (_FP32, "fp32_contents"),
    "FP64": (_FP64, "fp64_contents"),
    TEXTS: (_TEXTS, "bytes_contents"),
}
"""Which list has the elements of a datatype; FP16 has none."""


def read_contents(contents: bytes, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """The tensor of these elements, [*shape]; of bytes objects for BYTES.

    Raises ProtocolError for elements of another datatype, too large for theirs, or as many as do not fit.
    """
    try:
        wanted, listed = _LIST[datatype]
    except KeyError:
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r:.80}: {datatype!r:.40} has no typed contents; send raw_input_contents",
        ) from None
    parts = []
    for number, kind, value in fields(contents):
        if number == wanted:
            parts.append(_elements(kind, value, wanted))
        elif 0 < number <= _TEXTS:
            raise ProtocolError(
                Code.INVALID, f"input {name!r:.80}: the elements of {datatype} belong in {listed} alone"
            )
    found = np.concatenate(parts) if parts else np.empty(0, object if wanted == _TEXTS else np.uint64)
    count = element_count(shape, name)
    if len(found) != count:
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r:.80}: {list(shape)} has {count} elements, got {len(found)} in {listed}",
        )
    return (found if wanted == _TEXTS else _cast(found, datatype, name)).reshape(shape)


def _elements(kind: int, value: Value, wanted: int) -> Array:
    if isinstance(value, int):
        if wanted >= _FP32:
            raise malformed("a whole number stands among others")
        return np.array([value], np.uint64)
    if wanted == _TEXTS:
        one = np.empty(1, object)
        one[0] = value
        return one
    if wanted in (_FP32, _FP64):
        dtype = DTYPES["FP32" if wanted == _FP32 else "FP64"]
        if len(value) % dtype.itemsize or (kind != BYTES and (kind == FOUR) != (wanted == _FP32)):
            raise malformed("it ends within a number")
        return np.frombuffer(value, dtype)
    if kind not in (BYTES, VARINT):
        raise malformed("a number has another length than its type")
    return varints(value)


def _cast(found: Array, datatype: str, name: str) -> Array:
    """Numbers as they came, uint64 or floats, in the datatype's dtype."""
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return np.not_equal(found, 0)
    if dtype.kind == "f" or dtype == found.dtype:
        return found.astype(dtype, copy=False)
    whole = found.view(np.int64) if dtype.kind == "i" else found
    if whole.dtype == dtype:
        return whole
    cast = whole.astype(dtype)
    if not np.array_equal(cast, whole):
        limits = np.iinfo(dtype.name)
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r:.80}: {datatype} holds {limits.min} to {limits.max}, and an element is outside",
        )
    return cast
