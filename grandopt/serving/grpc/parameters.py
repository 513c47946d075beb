"""Parameters of requests and tensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from grandopt.serving.grpc.wire import EIGHT, VARINT, Value, field, fields, malformed, signed, text, varint
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import Parameter, Region

_BOOL, _INT, _TEXT, _DOUBLE, _UINT = 1, 2, 3, 4, 5
_MAX_FIELDS = 16
_KINDS = {_BOOL: VARINT, _INT: VARINT, _DOUBLE: EIGHT, _UINT: VARINT}


def read_parameter(entry: bytes) -> tuple[str, Parameter]:
    """Name and value of an entry of parameters. Raises ProtocolError where there is no value."""
    name, value = "", b""
    for number, _, part in fields(entry, _MAX_FIELDS):
        if number == 1:
            name = text(part)
        elif number == 2:
            value = part if isinstance(part, bytes) else value
    found: Parameter | None = None
    for number, kind, part in fields(value, _MAX_FIELDS):
        if kind == _KINDS.get(number, -1) or number == _TEXT:
            found = _parameter(number, part)
    if found is None:
        raise ProtocolError(Code.INVALID, f"parameter {name!r:.80} has no value")
    return name, found


def _parameter(number: int, part: Value) -> Parameter:
    if isinstance(part, bytes):
        return text(part) if number == _TEXT else float(struct.unpack("<d", part)[0])
    if number == _TEXT:
        raise malformed("a number stands where a text belongs")
    return part != 0 if number == _BOOL else signed(part) if number == _INT else part


def write_parameter(name: str, value: Parameter) -> bytes:
    """The entry that `read_parameter` reads."""
    if isinstance(value, bool):
        inner = bytes((_BOOL << 3, value))
    elif isinstance(value, int):
        inner = varint((_INT if value < 1 << 63 else _UINT) << 3) + varint(value)
    elif isinstance(value, float):
        inner = varint(_DOUBLE << 3 | EIGHT) + struct.pack("<d", value)
    else:
        inner = field(_TEXT, value.encode())
    return field(1, name.encode()) + field(2, inner)


def region_of(parameters: Mapping[str, Parameter], tensor: str) -> Region | None:
    """The shared memory that a tensor's parameters name, if they do. Raises ProtocolError for half of it."""
    name = parameters.get("shared_memory_region")
    size = parameters.get("shared_memory_byte_size")
    offset = parameters.get("shared_memory_offset", 0)
    if name is None and size is None and "shared_memory_offset" not in parameters:
        return None
    if not isinstance(name, str) or type(size) is not int or type(offset) is not int:
        raise ProtocolError(
            Code.INVALID,
            f"tensor {tensor!r:.80}: shared memory takes shared_memory_region (a text), "
            "shared_memory_byte_size and perhaps shared_memory_offset (whole numbers)",
        )
    if size < 0 or offset < 0:
        raise ProtocolError(
            Code.INVALID,
            f"tensor {tensor!r:.80}: shared_memory_byte_size {size} and shared_memory_offset {offset}; "
            "wanted no negative number",
        )
    return Region(name, size, offset)
