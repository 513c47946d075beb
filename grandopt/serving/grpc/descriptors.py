"""Schemas as the descriptors that tools without a copy of the protocol ask a server for."""

from __future__ import annotations

from typing import Any

from grandopt.serving.grpc.coding import encode, entry_of
from grandopt.serving.grpc.schema import SCALARS, Field, Message, Schema
from grandopt.serving.grpc.service_schemas import DESCRIPTOR

Json = dict[str, Any]

_MESSAGE, _ENUM = 11, 14
_OPTIONAL, _REPEATED = 1, 3


def file_descriptor(file: str, schemas: tuple[Schema, ...]) -> bytes:
    """The serialized FileDescriptorProto of the schema with this file's name; empty where none has it."""
    found = next((one for one in schemas if one.file == file), None)
    return b"" if found is None else encode(DESCRIPTOR, "FileDescriptorProto", _file(found))


def symbols(schema: Schema) -> set[str]:
    """The full names of what the schema's file declares."""
    service = (
        [schema.service, *(f"{schema.service}.{one.name}" for one in schema.calls)] if schema.service else []
    )
    names = [*schema.messages, *schema.enumerations, *service]
    return {f"{schema.package}.{name}" for name in names}


def _file(schema: Schema) -> Json:
    return {
        "name": schema.file,
        "package": schema.package,
        "message_type": [_message(schema, one) for name, one in schema.messages.items() if "." not in name],
        "enum_type": [_enumeration(schema, name) for name in schema.enumerations if "." not in name],
        "service": [
            {
                "name": schema.service,
                "method": [
                    {
                        "name": one.name,
                        "input_type": f".{schema.package}.{one.request}",
                        "output_type": f".{schema.package}.{one.response}",
                        "client_streaming": one.streams_in,
                        "server_streaming": one.streams_out,
                    }
                    for one in schema.calls
                ],
            }
        ],
        "syntax": "proto3",
    }


def _message(schema: Schema, message: Message) -> Json:
    inside = [name for name in schema.messages if name.rpartition(".")[0] == message.name]
    choices = list(dict.fromkeys(one.choice for one in message.fields if one.choice))
    return {
        "name": message.name.rpartition(".")[2],
        "field": [_field(schema, one, message.name, choices) for one in message.fields],
        "nested_type": [
            *(_message(schema, schema.messages[name]) for name in inside),
            *(_entry(schema, one) for one in message.fields if one.key),
        ],
        "enum_type": [
            _enumeration(schema, name)
            for name in schema.enumerations
            if name.rpartition(".")[0] == message.name
        ],
        "oneof_decl": [{"name": choice} for choice in choices],
    }


def _entry(schema: Schema, one: Field) -> Json:
    parts = [_field(schema, part, "", []) for part in entry_of(one).fields]
    return {"name": _entry_name(one), "field": parts, "options": {"map_entry": True}}


def _entry_name(one: Field) -> str:
    return "".join(part.capitalize() for part in one.name.split("_")) + "Entry"


def _field(schema: Schema, one: Field, message: str, choices: list[str]) -> Json:
    repeated = one.repeated or bool(one.key)
    described: Json = {
        "name": one.name,
        "number": one.number,
        "label": _REPEATED if repeated else _OPTIONAL,
    }
    if one.key:
        described |= {"type": _MESSAGE, "type_name": f".{schema.package}.{message}.{_entry_name(one)}"}
    elif one.type in SCALARS:
        described["type"] = SCALARS[one.type]
    else:
        described |= {
            "type": _ENUM if one.type in schema.enumerations else _MESSAGE,
            "type_name": f".{schema.package}.{one.type}",
        }
    if one.choice:
        described["oneof_index"] = choices.index(one.choice)
    first, *rest = one.name.split("_")
    return described | {"json_name": first + "".join(part[:1].upper() + part[1:] for part in rest)}


def _enumeration(schema: Schema, name: str) -> Json:
    return {
        "name": name.rpartition(".")[2],
        "value": [{"name": word, "number": number} for word, number in schema.enumerations[name].items()],
    }
