"""Messages as mappings, in the forms that the protocol's JSON has, to bytes and back."""

from __future__ import annotations

import struct
from typing import Any

from grandopt.serving.grpc.schema import SCALARS, Field, Message, Schema
from grandopt.serving.grpc.wire import (
    BYTES,
    EIGHT,
    FOUR,
    MAX_FIELDS,
    VARINT,
    Value,
    field,
    fields,
    malformed,
    read_varint,
    signed,
    text,
    varint,
)

Json = dict[str, Any]

_FLOATS = {"float": (FOUR, "<f"), "double": (EIGHT, "<d")}


def encode(schema: Schema, name: str, content: Json) -> bytes:
    """The message `name` with these fields; what is zero or empty is not sent, except in a choice.

    Raises KeyError for a field or a word of an enumeration that the schema does not have.
    """
    message = schema.messages[name]
    parts = []
    for key, value in content.items():
        one = message.by_name[key]
        if one.key:
            entry = entry_of(one)
            parts += [
                field(one.number, _encoded(schema, entry, {"key": each, "value": inner}))
                for each, inner in value.items()
            ]
        elif not one.repeated:
            if value or one.choice or one.type in schema.messages:
                parts.append(_tagged(schema, one, value))
        elif one.type in SCALARS and one.type not in ("string", "bytes"):
            if value:
                parts.append(field(one.number, b"".join(_scalar(schema, one, each) for each in value)))
        else:
            parts += [_tagged(schema, one, each) for each in value]
    return b"".join(parts)


def entry_of(one: Field) -> Message:
    """The message that an entry of the map `one` is sent as."""
    return Message("", (Field(1, "key", one.key), Field(2, "value", one.type)))


def _encoded(schema: Schema, message: Message, content: Json) -> bytes:
    return b"".join(_tagged(schema, message.by_name[key], value) for key, value in content.items())


def _tagged(schema: Schema, one: Field, value: Any) -> bytes:
    if one.type in schema.messages:
        return field(one.number, encode(schema, one.type, value))
    if one.type in ("string", "bytes"):
        return field(one.number, value.encode() if one.type == "string" else value)
    kind = _FLOATS[one.type][0] if one.type in _FLOATS else VARINT
    return varint(one.number << 3 | kind) + _scalar(schema, one, value)


def _scalar(schema: Schema, one: Field, value: Any) -> bytes:
    if one.type in _FLOATS:
        return struct.pack(_FLOATS[one.type][1], value)
    return varint(schema.enumerations[one.type][value] if one.type in schema.enumerations else int(value))


def decode(schema: Schema, name: str, data: bytes) -> Json:
    """The fields that are there, of a message; unknown ones are passed over.

    Raises ProtocolError for bytes that are no such message.
    """
    return _decoded(schema, schema.messages[name], data)


def _decoded(schema: Schema, message: Message, data: bytes) -> Json:
    content: Json = {}
    for number, kind, value in fields(data):
        one = message.by_number.get(number)
        if one is None:
            continue
        if one.key:
            entry = _decoded(schema, entry_of(one), _bytes(value))
            zero = "" if one.key == "string" else 0
            inner = entry.get("value", {} if one.type in schema.messages else _zero(one.type))
            content.setdefault(one.name, {})[entry.get("key", zero)] = inner
        elif one.repeated:
            content.setdefault(one.name, []).extend(_several(schema, one, kind, value))
        else:
            if one.choice:
                for other in message.fields:
                    if other.choice == one.choice:
                        content.pop(other.name, None)
            content[one.name] = _single(schema, one, kind, value)
    return content


def _several(schema: Schema, one: Field, kind: int, value: Value) -> list[Any]:
    """What one field of several gives: one value, or many where they are packed."""
    packed = kind == BYTES and one.type not in ("string", "bytes") and one.type not in schema.messages
    if not packed:
        return [_single(schema, one, kind, value)]
    data = _bytes(value)
    if one.type in _FLOATS:
        form = _FLOATS[one.type][1]
        if len(data) % struct.calcsize(form):
            raise malformed("it ends within a number")
        return [number for (number,) in struct.iter_unpack(form, data)]
    numbers, at = [], 0
    while at < len(data):
        number, at = read_varint(data, at)
        numbers.append(_number(schema, one, number))
        if len(numbers) > MAX_FIELDS:
            raise malformed(f"more than {MAX_FIELDS} numbers")
    return numbers


def _single(schema: Schema, one: Field, kind: int, value: Value) -> Any:
    if one.type in schema.messages:
        return decode(schema, one.type, _bytes(value))
    if one.type == "string":
        return text(value)
    if one.type == "bytes":
        return _bytes(value)
    if one.type in _FLOATS:
        wanted, form = _FLOATS[one.type]
        if kind != wanted:
            raise malformed(f"field {one.name} is no {one.type}")
        return struct.unpack(form, _bytes(value))[0]
    if kind != VARINT or not isinstance(value, int):
        raise malformed(f"field {one.name} is no {one.type}")
    return _number(schema, one, value)


def _number(schema: Schema, one: Field, number: int) -> Any:
    if one.type == "bool":
        return number != 0
    if one.type in ("int64", "uint64"):
        return signed(number) if one.type == "int64" else number
    if one.type == "uint32":
        return number & 0xFFFF_FFFF
    low = number & 0xFFFF_FFFF
    low -= (low >> 31) << 32
    words = schema.enumerations.get(one.type)
    return low if words is None else next((word for word, at in words.items() if at == low), low)


def _zero(kind: str) -> Any:
    return {"string": "", "bytes": b"", "bool": False, "float": 0.0, "double": 0.0}.get(kind, 0)


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise malformed("a number stands where bytes belong")
    return value
