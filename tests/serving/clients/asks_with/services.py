"""ADDRESS: gRPC's own clients for health and reflection."""

import sys

import grpc
from cases import tell
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

with grpc.insecure_channel(sys.argv[1]) as channel:
    health = health_pb2_grpc.HealthStub(channel)
    status = health.Check(health_pb2.HealthCheckRequest(service=""), timeout=10).status
    watched = next(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)).status
    database = ProtoReflectionDescriptorDatabase(channel)
    services = sorted(database.get_services())
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    request = pool.FindMessageTypeByName("inference.ModelInferRequest")
    tell(
        status=health_pb2.HealthCheckResponse.ServingStatus.Name(status),
        watched=health_pb2.HealthCheckResponse.ServingStatus.Name(watched),
        services=services,
        calls=len(service.methods),
        fields=[field.name for field in request.fields],
    )
