"""ModelInferRequest: from its bytes to what the data plane is asked.

A client's requests differ in their numbers alone, and the parts that say which tensor they are for come again
and again: each is looked up as the bytes it is, and read only when it is new. Of a request without an id, of
one tensor, that is all that stands before the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from grandopt.serving.grpc.contents import read_contents
from grandopt.serving.grpc.parameters import read_parameter, region_of
from grandopt.serving.grpc.wire import BYTES, fields, malformed, read_varint, signed, text
from grandopt.serving.protocol.datatypes import BYTES as TEXTS
from grandopt.serving.protocol.datatypes import DTYPES, from_raw
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import (
    NO_PARAMETERS,
    InferRequest,
    InputTensor,
    OutputRequest,
    Parameter,
    Region,
)
from grandopt.signature import Array

MAX_DIMENSIONS = 32
LARGEST_DIMENSION = 1 << 40
MAX_TENSORS = 128
"""Inputs, outputs or parameters of one request."""
MAX_FIELDS = 256
"""Of one input or output."""
REMEMBERED = 512
LONGEST_REMEMBERED = 256
"""How many parts are kept as read, and their bytes at most."""

T = TypeVar("T")

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


class Remembered(dict[bytes, T], Generic[T]):
    """What was read of parts that were seen before: `remembered[part]` reads a new one."""

    def __init__(self, read: Callable[[bytes], T]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, part: bytes) -> T:
        found = self._read(part)
        if len(part) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[part] = found
        return found


class RequestReader:
    """Reads requests; what it remembers is bounded, and of no client in particular."""

    def __init__(self) -> None:
        self._inputs = Remembered(_read_input)
        self._outputs = Remembered(_read_output)
        self._texts = Remembered(text)
        self._heads: dict[int, int] = {}
        """How many bytes stand before the numbers, by how many a request has."""
        self._known: dict[bytes, InferRequest] = {}

    def read(self, data: bytes) -> InferRequest:
        """The request that these bytes are. Raises ProtocolError where they are none."""
        head = self._heads.get(len(data))
        if head is not None and (known := self._known.get(data[:head])) is not None:
            name, datatype, shape, _, _ = known.inputs[0]
            # Copied out, so that numbers begin where their dtype may.
            numbers = np.frombuffer(data[head:], DTYPES[datatype]).reshape(shape)
            tensor = InputTensor(name, datatype, shape, numbers)
            return InferRequest(known.model, known.version, "", known.parameters, (tensor,), known.outputs)
        return self._read(data)

    def _read(self, data: bytes) -> InferRequest:
        model = version = request_id = ""
        parameters: dict[str, Parameter] = {}
        parts: list[InputPart] = []
        outputs: list[OutputRequest] = []
        raws: list[bytes] = []
        for number, kind, value in fields(data):
            if not isinstance(value, bytes) or kind != BYTES:
                if 0 < number < 8:
                    raise malformed(f"field {number} is a number")
            elif number == 7:
                raws.append(value)
            elif number == 5:
                parts.append(self._inputs[value])
            elif number == 1:
                model = self._texts[value]
            elif number == 3:
                request_id = text(value)
            elif number == 6:
                outputs.append(self._outputs[value])
            elif number == 2:
                version = self._texts[value]
            elif number == 4:
                parameters.update((read_parameter(value),))
            if len(parts) + len(outputs) + len(parameters) > MAX_TENSORS:
                raise ProtocolError(
                    Code.INVALID,
                    f"the request has over {MAX_TENSORS} inputs, outputs and parameters, the limit",
                )
        inputs = _tensors(parts, raws)
        request = InferRequest(
            model, version, request_id, parameters or NO_PARAMETERS, inputs, tuple(outputs)
        )
        # The last that was read ends the request: only then are the numbers its end.
        if len(raws) == len(parts) == 1 and not request_id and number == 7:
            self._remember(data, len(data) - len(raws[0]), request)
        return request

    def _remember(self, data: bytes, head: int, request: InferRequest) -> None:
        if head > LONGEST_REMEMBERED or self._heads.setdefault(len(data), head) != head:
            return
        if len(self._known) >= REMEMBERED or len(self._heads) > REMEMBERED:
            self._known.clear()
            self._heads.clear()
            self._heads[len(data)] = head
        self._known[data[:head]] = request._replace(inputs=(request.inputs[0]._replace(data=None),))


def _tensors(parts: list[InputPart], raws: list[bytes]) -> tuple[InputTensor, ...]:
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


def _read_input(part: bytes) -> InputPart:
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


def _read_output(part: bytes) -> OutputRequest:
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
