"""ModelInferResponse: from the data plane's answer to its bytes; tensors are raw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from grandopt.serving.grpc.forms import form_of
from grandopt.serving.grpc.parameters import write_parameter
from grandopt.serving.grpc.wire import field, varint
from grandopt.serving.protocol.datatypes import BYTES as TEXTS
from grandopt.serving.protocol.datatypes import DTYPES, bytes_to_raw
from grandopt.serving.protocol.messages import (
    NO_PARAMETERS,
    InferResponse,
    OutputTensor,
    Parameter,
    Region,
)
from grandopt.signature import Array

REMEMBERED = 1024
REMEMBERED_FORMS = 256
FINAL = "triton_final_response"
"""The parameter that marks the last response to a request."""
_ID, _OUTPUT, _RAW = 3, 5, 6


def write_response(response: InferResponse) -> bytes:
    """The bytes of a ModelInferResponse."""
    outputs = response.outputs
    if len(outputs) == 1 and not (response.id or response.parameters or outputs[0].region):
        raw = _raw(outputs[0])
        return _before(response.model, response.version, *outputs[0][:3], len(raw)) + raw
    parts = [_head(response.model, response.version)]
    if response.id:
        parts.append(field(3, response.id.encode()))
    if response.parameters:
        parts += [field(4, write_parameter(*one)) for one in response.parameters.items()]
    parts += [_output(one.name, one.datatype, one.shape, one.region) for one in outputs]
    for one in outputs:
        raw = _raw(one)
        parts += (_raw_head(len(raw)), raw)
    return b"".join(parts)


def write_stream_response(response: bytes) -> bytes:
    """A ModelStreamInferResponse around the bytes of a ModelInferResponse."""
    return b"\x12" + varint(len(response)) + response


def write_stream_error(message: str, request_id: str) -> bytes:
    """A ModelStreamInferResponse that says why a request got no answer, with its id."""
    answer = field(3, request_id.encode()) if request_id else b""
    return field(1, message.encode()) + field(2, answer)


class Form(NamedTuple):
    """A ModelStreamInferResponse of some shape, as bytes, and where its id and its numbers belong."""

    message: Array
    id: slice
    numbers: tuple[slice, ...]


def write_stream_rows(
    model: str, version: str, ids: Array, outputs: Sequence[tuple[str, str, Array]], *, final: bool
) -> Array:
    """The bytes of the ModelStreamInferResponse of each of some requests [n, size].

    They have the ids [n, characters], of bytes, and outputs of these names and datatypes [n, *shape], of
    which each has a row. `final` marks each as the last for its request.
    """
    of_one = tuple((name, datatype, (1, *rows.shape[1:])) for name, datatype, rows in outputs)
    form = _stream_form(model, version, ids.shape[1], of_one, final)
    messages = np.empty((len(ids), form.message.size), np.uint8)
    messages[:] = form.message
    messages[:, form.id] = ids
    for place, (_, _, rows) in zip(form.numbers, outputs, strict=True):
        messages[:, place] = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    return messages


@lru_cache(REMEMBERED_FORMS)
def _stream_form(
    model: str,
    version: str,
    id_size: int,
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...],
    final: bool,
) -> Form:
    tensors = tuple(
        OutputTensor(name, datatype, shape, np.zeros(shape, DTYPES[datatype]))
        for name, datatype, shape in outputs
    )
    parameters = {FINAL: True} if final else NO_PARAMETERS
    response = write_response(InferResponse(model, version, "0" * id_size, parameters, tensors))
    message, form = write_stream_response(response), form_of(response, _ID, _RAW)
    assert form is not None  # it has one id at most: it was written here
    form = form.moved(len(message) - len(response))
    return Form(np.frombuffer(message, np.uint8), form.id, form.numbers)


def _raw(one: OutputTensor) -> bytes:
    """Its bytes; none for what is in shared memory, because clients count them with the outputs."""
    if one.data is None:
        return b""
    return bytes_to_raw(one.data) if one.datatype == TEXTS else one.data.tobytes()


@lru_cache(REMEMBERED)
def _before(model: str, version: str, name: str, datatype: str, shape: tuple[int, ...], size: int) -> bytes:
    """All that stands before the bytes of a response's only output, of which there are `size`."""
    return _head(model, version) + _output(name, datatype, shape, None) + _raw_head(size)


@lru_cache(REMEMBERED)
def _head(model: str, version: str) -> bytes:
    return field(1, model.encode()) + (field(2, version.encode()) if version else b"")


@lru_cache(REMEMBERED)
def _output(name: str, datatype: str, shape: tuple[int, ...], region: Region | None) -> bytes:
    parts = [field(1, name.encode()), field(2, datatype.encode())]
    if shape:
        parts.append(field(3, b"".join(varint(size) for size in shape)))
    if region is not None:
        of_region: dict[str, Parameter] = {
            "shared_memory_region": region.name,
            "shared_memory_byte_size": region.byte_size,
        }
        if region.offset:
            of_region["shared_memory_offset"] = region.offset
        parts += [field(4, write_parameter(*one)) for one in of_region.items()]
    return field(_OUTPUT, b"".join(parts))


@lru_cache(REMEMBERED)
def _raw_head(size: int) -> bytes:
    return varint(_RAW << 3 | 2) + varint(size)
