"""Requests for inference, from JSON and the bytes after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from grandopt.serving.http.depth import deeper
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.tensors import from_json
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

MEMBERS = frozenset({"id", "parameters", "inputs", "outputs", "model_name", "model_version"})
_INPUT = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT = frozenset({"name", "parameters"})
_INPUT_PARAMETERS = frozenset(
    {"binary_data_size", "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"}
)
_OUTPUT_PARAMETERS = frozenset(
    {
        "binary_data",
        "classification",
        "shared_memory_region",
        "shared_memory_byte_size",
        "shared_memory_offset",
    }
)
ALL_BINARY = "binary_data_output"


class Asked:
    """What the JSON text of one request says; `request` puts the bytes after it into its places.

    `binary` says that outputs that were not named come as bytes. `lasting` says that the text holds no
    tensor: the same text means the same with other bytes.
    """

    __slots__ = ("_lone", "_places", "base", "binary", "lasting", "size")

    def __init__(
        self,
        base: InferRequest,
        places: tuple[tuple[int, int, int], ...],
        size: int,
        binary: bool,
        lasting: bool,
    ) -> None:
        self.base = base
        self.size = size
        """Bytes after the JSON text."""
        self.binary = binary
        self.lasting = lasting
        self._places = places
        """Which input begins and ends where in these bytes."""
        self._lone: tuple[InputTensor, np.dtype[Any]] | None = None
        if len(base.inputs) == 1 and len(places) == 1:
            tensor = base.inputs[0]
            dtype = DTYPES.get(tensor.datatype)
            if dtype is not None and size == dtype.itemsize * _elements(tensor.shape) > 0:
                self._lone = tensor, dtype

    def request(self, raw: bytes) -> InferRequest:
        """The request whose binary tensors are `raw`, as views of it where they are aligned."""
        if len(raw) != self.size:
            raise ProtocolError(
                Code.INVALID,
                f"the inputs' binary_data_size add up to {self.size} bytes, {len(raw)} follow the JSON text",
            )
        base = self.base
        if self._lone is not None:
            tensor, dtype = self._lone
            array = np.ndarray(tensor.shape, dtype, raw)
            one = InputTensor(tensor.name, tensor.datatype, tensor.shape, array)
            return InferRequest(base.model, base.version, base.id, base.parameters, (one,), base.outputs)
        if not self._places:
            return base
        inputs = list(base.inputs)
        for place, start, end in self._places:
            tensor = inputs[place]
            array = from_raw(raw[start:end], tensor.datatype, tensor.shape, tensor.name)
            inputs[place] = tensor._replace(data=array)
        return base._replace(inputs=tuple(inputs))


def asked(model: str, version: str, text: bytes, limits: HttpLimits) -> Asked:
    """What `text` asks of a model; raises ProtocolError for what is no request."""
    try:
        return _asked(model, version, text, limits)
    except ProtocolError:
        # Looked at last: what is nested without need is refused for that alone already.
        if deeper(text, limits.depth):
            raise ProtocolError(
                Code.INVALID, f"the JSON text is nested more than {limits.depth} deep"
            ) from None
        raise


def _asked(model: str, version: str, text: bytes, limits: HttpLimits) -> Asked:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(Code.INVALID, f"the body is not JSON: {error!s:.120}") from None
    if type(given) is not dict:
        raise ProtocolError(Code.INVALID, "the body must be a JSON object")
    _require_known(given, MEMBERS, "the request")
    parameters = dict(_parameters(given, "the request"))
    binary = _flag(parameters.pop(ALL_BINARY, False), ALL_BINARY)
    inputs, places, size = _inputs(given, limits)
    base = InferRequest(
        model,
        version,
        _text(given.get("id", ""), "id"),
        parameters or NO_PARAMETERS,
        inputs,
        tuple(_output(item) for item in _objects(given, "outputs", limits)),
    )
    return Asked(base, places, size, binary, all(one.data is None for one in inputs))


def _inputs(
    given: Mapping[str, Any], limits: HttpLimits
) -> tuple[tuple[InputTensor, ...], tuple[tuple[int, int, int], ...], int]:
    """The inputs, the places of those that are bytes, and how many bytes these take together."""
    tensors, places, end = [], [], 0
    if "inputs" not in given:
        raise ProtocolError(Code.INVALID, "the request has no inputs")
    for place, item in enumerate(_objects(given, "inputs", limits)):
        name = _text(item.get("name"), "the name of an input")
        where = f"input {name!r:.80}"
        _require_known(item, _INPUT, where)
        datatype, shape = _text(item.get("datatype"), f"{where}: datatype"), _shape(item.get("shape"), where)
        parameters = _parameters(item, where)
        _require_known(parameters, _INPUT_PARAMETERS, where)
        size, region = parameters.get("binary_data_size"), _region(parameters, where)
        if ("data" in item) + (size is not None) + (region is not None) != 1:
            raise ProtocolError(
                Code.INVALID, f"{where}: give one of data, binary_data_size and shared_memory_region"
            )
        array = None
        if size is not None:
            start, end = end, end + _whole(size, f"{where}: binary_data_size")
            places.append((place, start, end))
        elif region is None:
            array = from_json(item["data"], datatype, shape, name)
        tensors.append(InputTensor(name, datatype, shape, array, region))
    return tuple(tensors), tuple(places), end


def _output(item: Mapping[str, Any]) -> OutputRequest:
    name = _text(item.get("name"), "the name of an output")
    where = f"output {name!r:.80}"
    _require_known(item, _OUTPUT, where)
    parameters = _parameters(item, where)
    _require_known(parameters, _OUTPUT_PARAMETERS, where)
    return OutputRequest(
        name,
        _whole(parameters.get("classification", 0), f"{where}: classification"),
        _region(parameters, where),
        _flag(parameters.get("binary_data", False), f"{where}: binary_data"),
    )


def _region(parameters: Mapping[str, Parameter], where: str) -> Region | None:
    name = parameters.get("shared_memory_region")
    if name is None:
        if "shared_memory_byte_size" in parameters or "shared_memory_offset" in parameters:
            raise ProtocolError(Code.INVALID, f"{where}: which shared_memory_region is it?")
        return None
    return Region(
        _text(name, f"{where}: shared_memory_region"),
        _whole(parameters.get("shared_memory_byte_size"), f"{where}: shared_memory_byte_size"),
        _whole(parameters.get("shared_memory_offset", 0), f"{where}: shared_memory_offset"),
    )


def _objects(given: Mapping[str, Any], name: str, limits: HttpLimits) -> list[dict[str, Any]]:
    items = given.get(name, [])
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise ProtocolError(Code.INVALID, f"{name} must be a list of objects")
    if len(items) > limits.tensors:
        raise ProtocolError(Code.INVALID, f"more than {limits.tensors} {name}")
    return items


def _parameters(given: Mapping[str, Any], where: str) -> Mapping[str, Parameter]:
    found = given.get("parameters")
    if found is None:
        return NO_PARAMETERS
    if type(found) is not dict:
        raise ProtocolError(Code.INVALID, f"{where}: parameters must be an object")
    for name, value in found.items():
        if not isinstance(value, bool | int | float | str):
            raise ProtocolError(
                Code.INVALID, f"{where}: the parameter {name!r:.80} must be a number, a text, true or false"
            )
    return found


def _require_known(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if not known.issuperset(given):
        name = next(name for name in given if name not in known)
        raise ProtocolError(
            Code.INVALID, f"{where}: {name!r:.80} is not known; known are {', '.join(sorted(known))}"
        )


def _shape(value: Any, where: str) -> tuple[int, ...]:
    if type(value) is not list or not all(type(size) is int and size >= 0 for size in value):
        raise ProtocolError(Code.INVALID, f"{where}: shape must be a list of sizes of 0 or more")
    if len(value) > 32:
        raise ProtocolError(Code.INVALID, f"{where}: shape has {len(value)} sizes, at most 32 are possible")
    return tuple(value)


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _text(value: Any, where: str) -> str:
    if type(value) is not str:
        raise ProtocolError(Code.INVALID, f"{where} must be a text")
    return value


def _whole(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise ProtocolError(Code.INVALID, f"{where} must be a whole number of 0 or more")
    return value


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise ProtocolError(Code.INVALID, f"{where} must be true or false")
    return value
