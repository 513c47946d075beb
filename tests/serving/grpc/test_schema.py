"""The schema against protobuf's own reading of it: the same bytes mean the same, both ways."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.descriptors import file_descriptor
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.schema import SCALARS, Field, Schema
from grandopt.serving.grpc.service_schemas import HEALTH, REFLECTIONS
from grandopt.serving.protocol.errors import ProtocolError

SERVED = (INFERENCE, HEALTH, *REFLECTIONS)
_WHOLE = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1), "int32": (-(2**31), 2**31 - 1)}


@cache
def pool() -> descriptor_pool.DescriptorPool:
    made = descriptor_pool.DescriptorPool()
    for schema in SERVED:
        made.AddSerializedFile(file_descriptor(schema.file, SERVED))
    return made


def protobuf(schema: Schema, name: str) -> Any:
    """Protobuf's class of the message."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{schema.package}.{name}"))


def drawn(schema: Schema, name: str, chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """Some fields of the message, with values that are not zero."""
    content: dict[str, Any] = {}
    for one in schema.messages[name].fields:
        if chance.random() < 0.4 or (depth > 3 and one.type in schema.messages):
            continue
        if one.choice and any(
            other.name in content for other in schema.messages[name].fields if other.choice
        ):
            continue
        if one.key:
            keys = {
                chance.choice(["a", "b", "ü"]) if one.key == "string" else chance.randint(1, 2**40)
                for _ in "ab"
            }
            content[one.name] = {key: value(schema, one, chance, depth) for key in sorted(keys)}
        elif one.repeated:
            content[one.name] = [value(schema, one, chance, depth) for _ in range(chance.randint(1, 3))]
        else:
            content[one.name] = value(schema, one, chance, depth)
    return content


def value(schema: Schema, one: Field, chance: random.Random, depth: int) -> Any:
    if one.type in schema.messages:
        return drawn(schema, one.type, chance, depth + 1)
    if one.type in schema.enumerations:
        return chance.choice([word for word, number in schema.enumerations[one.type].items() if number])
    match one.type:
        case "bool":
            return True
        case "string":
            return chance.choice(["x", "größer", "a" * 200])
        case "bytes":
            return chance.randbytes(chance.randint(1, 200))
        case "float" | "double":
            return chance.choice([0.5, -2.0, 1e10])
    low, high = _WHOLE.get(one.type, (0, 2**32 - 1))
    return chance.choice([1, high, low or 3, chance.randint(max(low, 1), high)])


@pytest.mark.parametrize("schema", SERVED, ids=[schema.package for schema in SERVED])
def test_messages_there_and_back(schema: Schema) -> None:
    chance = random.Random(0)
    for name in schema.messages:
        kind = protobuf(schema, name)
        for _ in range(3):
            content = drawn(schema, name, chance)
            ours = encode(schema, name, content)
            theirs = kind.FromString(ours)
            assert theirs.ByteSize() == len(ours)
            assert decode(schema, name, theirs.SerializeToString()) == decode(schema, name, ours)
            described = json_format.MessageToDict(theirs, preserving_proto_field_name=True)
            assert kind.FromString(encode(schema, name, decode(schema, name, ours))) == theirs
            assert described.keys() == content.keys()


def test_every_message_of_the_schema_is_told() -> None:
    for schema in SERVED:
        told = descriptor_pb2.FileDescriptorProto.FromString(file_descriptor(schema.file, SERVED))
        assert told.package == schema.package
        assert [method.name for method in told.service[0].method] == [one.name for one in schema.calls]
        for name, message in schema.messages.items():
            fields = pool().FindMessageTypeByName(f"{schema.package}.{name}").fields_by_name
            assert {one.name: one.number for one in message.fields} == {
                one.name: one.number for one in fields.values()
            }


def test_the_last_of_a_choice_counts_and_unknown_fields_are_passed_over() -> None:
    both = encode(INFERENCE, "InferParameter", {"bool_param": True}) + encode(
        INFERENCE, "InferParameter", {"int64_param": -5}
    )
    assert decode(INFERENCE, "InferParameter", both + b"\xf8\x06\x01") == {"int64_param": -5}


def test_a_field_of_another_kind_is_refused() -> None:
    for data, why in ((b"\x0a\x01\x01", "live is no bool"), (b"\x0d" + bytes(4), "live is no bool")):
        with pytest.raises(ProtocolError, match=why):
            decode(INFERENCE, "ServerLiveResponse", data)
    with pytest.raises(ProtocolError, match="a number stands where a text"):
        decode(INFERENCE, "ModelReadyRequest", b"\x08\x01")
    with pytest.raises(ProtocolError, match="not UTF-8"):
        decode(INFERENCE, "ModelReadyRequest", b"\x0a\x01\xff")


def test_all_types_are_known() -> None:
    for schema in SERVED:
        known = {*SCALARS, *schema.messages, *schema.enumerations}
        assert {one.type for message in schema.messages.values() for one in message.fields} <= known
        lines = [line for line in schema.lines.values() if line]
        assert sum(len(schema.messages[name].fields) for name in schema.messages) == sum(
            1 + line.count(", ") for line in lines
        )
