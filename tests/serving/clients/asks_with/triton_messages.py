"""FILE: how the protocol's messages of that descriptor differ from those of Triton's client."""

import sys
from pathlib import Path

from cases import tell
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2


def described(file, found):
    for message in file.message_type:
        _message(message, "", found)
    for one in file.enum_type:
        found["enum " + one.name] = {word.name: word.number for word in one.value}
    for service in file.service:
        for call in service.method:
            streams = [call.client_streaming, call.server_streaming]
            found[f"call {call.name}"] = [call.input_type, call.output_type, *streams]
    return found


def _message(message, before, found):
    name = before + message.name
    for field in message.field:
        choice = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        found[f"{name} {field.number}"] = [field.name, field.type, field.label, field.type_name, choice]
    for one in message.enum_type:
        found[f"enum {name}.{one.name}"] = {word.name: word.number for word in one.value}
    for one in message.nested_type:
        _message(one, name + ".", found)


ours = described(descriptor_pb2.FileDescriptorProto.FromString(Path(sys.argv[1]).read_bytes()), {})
theirs = {}
for module in (service_pb2, model_config_pb2):
    described(descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb), theirs)
tell(
    same=sum(ours[name] == theirs.get(name) for name in ours),
    other={name: [ours[name], theirs.get(name)] for name in ours if ours[name] != theirs.get(name)},
    absent=sorted(
        {name.split()[0].partition(".")[0] for name in theirs if name not in ours and "enum" not in name}
    ),
)
