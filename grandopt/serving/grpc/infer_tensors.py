"""The inputs and outputs of a ModelInferRequest, as their own messages say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grandopt.serving.grpc.contents import read_contents
from grandopt.serving.grpc.parameters import read_parameter, region_of
from grandopt.serving.grpc.wire import fields, read_varint, signed, text
from grandopt.serving.protocol.datatypes import BYTES as TEXTS
from grandopt.serving.protocol.datatypes import from_raw
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InputTensor, OutputRequest, Parameter, Region
from grandopt.signature import Array

MAX_DIMENSIONS = 32
LARGEST_DIMENSION = 1 << 40
MAX_FIELDS = 256
"""Of one input or output."""

_SHARED = frozenset(("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"))
_OF_INPUTS = _SHARED | {"binary_data_size"}
_OF_OUTPUTS = _SHARED | {"classification", "binary_data"}
"""Whether an output comes as raw bytes is HTTP's question; here all do, and clients of both say it."""


class InputPart(NamedTuple):
    """An input as its own message says it; `contents` is empty where its numbers are raw bytes.

    `raw_size` is how many those should be, for clients that say it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    region: Region | None
    contents: bytes
    raw_size: Parameter | None


def tensors(parts: list[InputPart], raws: list[bytes]) -> tuple[InputTensor, ...]:
    """Inputs with their numbers: raw bytes are in the order of the inputs that are not in shared memory."""
    if len(parts) == 1 and len(raws) == 1:
        name, datatype, shape, region, contents, size = parts[0]
        if region is None and not contents and size is None and datatype != TEXTS:
            return (InputTensor(name, datatype, shape, from_raw(raws[0], datatype, shape, name)),)
    here = [one for one in parts if one.region is None]
    if raws:
        mixed = next((one for one in parts if one.contents), None)
        if mixed is not None:
            raise ProtocolError(
                Code.INVALID,
                f"input {mixed.name!r:.80}: contents and raw_input_contents are both given; send one of them",
            )
        if len(raws) != len(here):
            raise ProtocolError(
                Code.INVALID,
                f"{len(raws)} raw_input_contents for {len(here)} inputs that are not in shared memory",
            )
    rest = iter(raws)
    return tuple(
        InputTensor(one.name, one.datatype, one.shape, None, one.region)
        if one.region is not None
        else InputTensor(one.name, one.datatype, one.shape, _numbers(one, next(rest, None)))
        for one in parts
    )


def _numbers(one: InputPart, raw: bytes | None) -> Array:
    if raw is None:
        return read_contents(one.contents, one.datatype, one.shape, one.name)
    if one.datatype == TEXTS:
        raise ProtocolError(
            Code.UNSUPPORTED, f"input {one.name!r:.80}: agents take numbers, and these are BYTES"
        )
    if one.raw_size not in (None, len(raw)):
        raise ProtocolError(
            Code.INVALID,
            f"input {one.name!r:.80}: binary_data_size is {one.raw_size!r:.40}, and {len(raw)} bytes came",
        )
    return from_raw(raw, one.datatype, one.shape, one.name)


def read_input(part: bytes) -> InputPart:
    """An input. Raises ProtocolError for what is none."""
    name = datatype = ""
    contents: list[bytes] = []
    shape: list[int] = []
    parameters: dict[str, Parameter] = {}
    for number, _, value in fields(part, MAX_FIELDS):
        if number == 3:
            _extend(shape, value)
        elif number == 1:
            name = text(value)
        elif number == 2:
            datatype = text(value)
        elif number == 4 and isinstance(value, bytes):
            parameters.update((read_parameter(value),))
        elif number == 5 and isinstance(value, bytes):
            contents.append(value)  # a message that comes twice is one of both's fields
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= size <= LARGEST_DIMENSION for size in shape):
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r:.80}: shape {shape[:8]}; wanted at most {MAX_DIMENSIONS} dimensions, each from 0 "
            f"to {LARGEST_DIMENSION}",
        )
    _require_known(parameters, _OF_INPUTS, f"input {name!r:.80}")
    region = region_of(parameters, name)
    if region is not None and contents:
        raise ProtocolError(Code.INVALID, f"input {name!r:.80} has contents and a region of shared memory")
    return InputPart(
        name, datatype, tuple(shape), region, b"".join(contents), parameters.get("binary_data_size")
    )


def _extend(shape: list[int], value: int | bytes) -> None:
    if isinstance(value, int):
        shape.append(signed(value))
        return
    at = 0
    while at < len(value):
        size, at = read_varint(value, at)
        shape.append(signed(size))
        if len(shape) > MAX_DIMENSIONS:
            return


def read_output(part: bytes) -> OutputRequest:
    """An output that is asked for. Raises ProtocolError for what is none."""
    name = ""
    parameters: dict[str, Parameter] = {}
    for number, _, value in fields(part, MAX_FIELDS):
        if number == 1:
            name = text(value)
        elif number == 2 and isinstance(value, bytes):
            parameters.update((read_parameter(value),))
    _require_known(parameters, _OF_OUTPUTS, f"output {name!r:.80}")
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0 or ("classification" in parameters and not classes):
        raise ProtocolError(
            Code.INVALID,
            f"output {name!r:.80}: classification is {classes!r:.40}; wanted how many, at least 1",
        )
    return OutputRequest(name, classes, region_of(parameters, name))


def _require_known(parameters: Mapping[str, Parameter], known: frozenset[str], whose: str) -> None:
    for name in parameters:
        if name not in known:
            raise ProtocolError(
                Code.INVALID, f"{whose}: parameter {name!r:.80} is none of {', '.join(sorted(known))}"
            )
