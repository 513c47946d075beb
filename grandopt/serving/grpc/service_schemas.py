"""The messages of gRPC's own services: health and reflection; and of what describes messages."""

from __future__ import annotations

from grandopt.serving.grpc.schema import Call, Schema

HEALTH = Schema(
    file="grpc/health/v1/health.proto",
    package="grpc.health.v1",
    lines={
        "HealthCheckRequest": "1 service string",
        "HealthCheckResponse": "1 status HealthCheckResponse.ServingStatus",
        "HealthListRequest": "",
        "HealthListResponse": "1 statuses {string: HealthCheckResponse}",
    },
    enumerations={
        "HealthCheckResponse.ServingStatus": {
            "UNKNOWN": 0,
            "SERVING": 1,
            "NOT_SERVING": 2,
            "SERVICE_UNKNOWN": 3,
        }
    },
    service="Health",
    calls=(
        Call("Check", "HealthCheckRequest", "HealthCheckResponse"),
        Call("List", "HealthListRequest", "HealthListResponse"),
        Call("Watch", "HealthCheckRequest", "HealthCheckResponse", streams_out=True),
    ),
)

_REFLECTION = {
    "ServerReflectionRequest": (
        "1 host string, 3 file_by_filename?message_request string, "
        "4 file_containing_symbol?message_request string, "
        "5 file_containing_extension?message_request ExtensionRequest, "
        "6 all_extension_numbers_of_type?message_request string, 7 list_services?message_request string"
    ),
    "ExtensionRequest": "1 containing_type string, 2 extension_number int32",
    "ServerReflectionResponse": (
        "1 valid_host string, 2 original_request ServerReflectionRequest, "
        "4 file_descriptor_response?message_response FileDescriptorResponse, "
        "5 all_extension_numbers_response?message_response ExtensionNumberResponse, "
        "6 list_services_response?message_response ListServiceResponse, "
        "7 error_response?message_response ErrorResponse"
    ),
    "FileDescriptorResponse": "1 file_descriptor_proto bytes*",
    "ExtensionNumberResponse": "1 base_type_name string, 2 extension_number int32*",
    "ListServiceResponse": "1 service ServiceResponse*",
    "ServiceResponse": "1 name string",
    "ErrorResponse": "1 error_code int32, 2 error_message string",
}


def _reflection(version: str) -> Schema:
    return Schema(
        file=f"grpc/reflection/{version}/reflection.proto",
        package=f"grpc.reflection.{version}",
        lines=_REFLECTION,
        enumerations={},
        service="ServerReflection",
        calls=(
            Call("ServerReflectionInfo", "ServerReflectionRequest", "ServerReflectionResponse", True, True),
        ),
    )


REFLECTIONS = (_reflection("v1"), _reflection("v1alpha"))

DESCRIPTOR = Schema(
    file="google/protobuf/descriptor.proto",
    package="google.protobuf",
    lines={
        "FileDescriptorProto": (
            "1 name string, 2 package string, 4 message_type DescriptorProto*, "
            "5 enum_type EnumDescriptorProto*, 6 service ServiceDescriptorProto*, 12 syntax string"
        ),
        "DescriptorProto": (
            "1 name string, 2 field FieldDescriptorProto*, 3 nested_type DescriptorProto*, "
            "4 enum_type EnumDescriptorProto*, 7 options MessageOptions, 8 oneof_decl OneofDescriptorProto*"
        ),
        "FieldDescriptorProto": (
            "1 name string, 3 number int32, 4 label int32, 5 type int32, 6 type_name string, "
            "9 oneof_index?index int32, 10 json_name string"
        ),
        "OneofDescriptorProto": "1 name string",
        "MessageOptions": "7 map_entry bool",
        "EnumDescriptorProto": "1 name string, 2 value EnumValueDescriptorProto*",
        "EnumValueDescriptorProto": "1 name string, 2 number?number int32",
        "ServiceDescriptorProto": "1 name string, 2 method MethodDescriptorProto*",
        "MethodDescriptorProto": (
            "1 name string, 2 input_type string, 3 output_type string, 5 client_streaming bool, "
            "6 server_streaming bool"
        ),
    },
    enumerations={},
)
"""What a file of messages is described with."""
