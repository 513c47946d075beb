"""ModelInferResponse: from the data plane's answer to its bytes; tensors are raw."""

from __future__ import annotations

from functools import lru_cache

from grandopt.serving.grpc.parameters import write_parameter
from grandopt.serving.grpc.wire import field, varint
from grandopt.serving.protocol.datatypes import BYTES as TEXTS
from grandopt.serving.protocol.datatypes import bytes_to_raw
from grandopt.serving.protocol.messages import InferResponse, OutputTensor, Parameter, Region

REMEMBERED = 1024
_OUTPUT, _RAW = 5, 6


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
