"""The server itself: health, addresses, limits, tokens, TLS and its end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from grandopt.errors import ConfigError, ServingError
from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.reflection import Reflection
from grandopt.serving.grpc.server import GrpcServer
from grandopt.serving.grpc.service_schemas import HEALTH, REFLECTIONS
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.access import Access
from tests.serving.certificate import signed_by_itself
from tests.serving.clients.agents import all_served
from tests.serving.grpc.asking import SERVICE, infer_request

LINE = encode(INFERENCE, "ModelInferRequest", infer_request("line", x=np.ones((1, 4), "f")))
Body = Callable[[DataPlane, GrpcServer, grpc.aio.Channel], Awaitable[None]]


def served(folder: Path, body: Body, channel: Any = None, **options: Any) -> None:
    """Run `body` with a server in this process, and a channel to it."""

    async def main() -> None:
        async with all_served(folder) as plane:
            server = GrpcServer(plane, GrpcOptions(port=0, **options))
            await server.start()
            try:
                made = grpc.aio.insecure_channel if channel is None else channel
                async with made(server.addresses[0]) as to:
                    await body(plane, server, to)
            finally:
                await server.stop(0)

    asyncio.run(main())


async def ask(channel: grpc.aio.Channel, name: str, data: bytes = b"", **how: Any) -> bytes:
    answer: bytes = await channel.unary_unary(f"{SERVICE}/{name}")(data, timeout=10, **how)
    return answer


async def status(channel: grpc.aio.Channel, name: str, data: bytes = b"", **how: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        await ask(channel, name, data, **how)
    return error.value.code().name, error.value.details()


def test_health_is_checked_listed_and_watched(tmp_path: Path) -> None:
    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for service in ("", "inference.GRPCInferenceService"):
            data = await check(encode(HEALTH, "HealthCheckRequest", {"service": service}))
            assert decode(HEALTH, "HealthCheckResponse", data) == {"status": "SERVING"}
        with pytest.raises(grpc.RpcError) as error:
            await check(encode(HEALTH, "HealthCheckRequest", {"service": "nobody"}))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        listed = await channel.unary_unary("/grpc.health.v1.Health/List")(b"")
        assert decode(HEALTH, "HealthListResponse", listed)["statuses"][""] == {"status": "SERVING"}
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert decode(HEALTH, "HealthCheckResponse", await watch.read()) == {"status": "SERVING"}
        plane.stop()
        assert decode(HEALTH, "HealthCheckResponse", await watch.read()) == {"status": "NOT_SERVING"}
        assert decode(INFERENCE, "ServerReadyResponse", await ask(channel, "ServerReady")) == {}
        assert (await status(channel, "ModelInfer", LINE))[0] == "UNAVAILABLE"

    served(tmp_path, body)


def test_reflection_tells_services_and_files(tmp_path: Path) -> None:
    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        for schema in REFLECTIONS:
            path = f"/{schema.package}.ServerReflection/ServerReflectionInfo"
            stream = channel.stream_stream(path)()

            async def told(stream: Any = stream, schema: Any = schema, **question: Any) -> Any:
                await stream.write(encode(schema, "ServerReflectionRequest", question))
                return decode(schema, "ServerReflectionResponse", await stream.read())

            listed = (await told(list_services=""))["list_services_response"]["service"]
            assert {one["name"] for one in listed} >= {
                "inference.GRPCInferenceService",
                "grpc.health.v1.Health",
            }
            for symbol in (
                "inference.GRPCInferenceService",
                "inference.ModelConfig",
                "grpc.health.v1.Health.Check",
            ):
                answer = await told(file_containing_symbol=symbol)
                assert answer["file_descriptor_response"]["file_descriptor_proto"][0]
            named = await told(file_by_filename="grpc_service.proto")
            assert named["original_request"] == {"file_by_filename": "grpc_service.proto"}
            assert "file_descriptor_response" in named
            for question in ({"file_containing_symbol": "a.b"}, {"all_extension_numbers_of_type": "a"}, {}):
                assert (await told(**question))["error_response"]["error_code"] in (3, 5)
            await stream.done_writing()

    served(tmp_path, body)
    assert Reflection(REFLECTIONS[0], ())._answer({"list_services": ""}) == {
        "list_services_response": {"service": []}
    }


def test_an_address_is_used_once(tmp_path: Path) -> None:
    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        port = int(server.addresses[0].rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"127.0.0.1 port {port} cannot be had"):
            await GrpcServer(plane, GrpcOptions(port=port)).start()
        with pytest.raises(ServingError, match="started already"):
            await server.start()

    served(tmp_path, body)


def test_messages_and_calls_have_limits(tmp_path: Path) -> None:
    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        code, text = await status(channel, "ModelInfer", bytes(2000))
        assert code == "RESOURCE_EXHAUSTED"
        assert "1000" in text
        streams = [channel.stream_stream(f"{SERVICE}/ModelStreamInfer")() for _ in range(2)]
        for stream in streams:
            await stream.write(LINE)
            await stream.read()
        code, text = await status(channel, "ModelInfer", LINE)
        assert code == "RESOURCE_EXHAUSTED"
        assert "limit" in text
        for stream in streams:
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK

    served(tmp_path, body, max_message_bytes=1000, max_calls=2)


def test_what_changes_something_needs_the_token(tmp_path: Path) -> None:
    right, wrong = (("authorization", "Bearer abc"),), (("authorization", "Bearer abd"),)
    load = encode(INFERENCE, "RepositoryModelUnloadRequest", {"model_name": "line"})

    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        await ask(channel, "ModelInfer", LINE)
        await ask(channel, "LogSettings")
        change = encode(INFERENCE, "LogSettingsRequest", {"settings": {"log_info": {"bool_param": False}}})
        for name, data in (("RepositoryModelUnload", load), ("LogSettings", change)):
            assert (await status(channel, name, data))[0] == "UNAUTHENTICATED"
            assert (await status(channel, name, data, metadata=wrong))[0] == "UNAUTHENTICATED"
            await ask(channel, name, data, metadata=right)

    served(tmp_path, body, access=Access("abc"))

    async def for_all(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        await ask(channel, "ServerLive")
        for name in ("ModelInfer", "ServerMetadata"):
            assert (await status(channel, name, LINE if name == "ModelInfer" else b""))[
                0
            ] == "UNAUTHENTICATED"
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter([LINE]))
        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
        await ask(channel, "ModelInfer", LINE, metadata=right)

    served(tmp_path, for_all, access=Access("abc", for_all=True))


def test_calls_under_way_end_before_the_server_does(tmp_path: Path) -> None:
    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        slow = encode(INFERENCE, "ModelInferRequest", infer_request("slow", x=np.full((1, 1), 0.3, "f")))
        call = channel.unary_unary(f"{SERVICE}/ModelInfer")(slow)
        await asyncio.sleep(0.1)
        stopping = asyncio.ensure_future(server.stop(5))
        assert await call.code() is grpc.StatusCode.OK
        await stopping
        assert (await status(channel, "ServerLive"))[0] == "UNAVAILABLE"

    served(tmp_path, body)


def test_tls(tmp_path: Path) -> None:
    certificate, key = signed_by_itself(tmp_path)

    def secured(address: str) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(certificate.read_bytes()))

    async def body(plane: DataPlane, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        assert decode(INFERENCE, "ServerLiveResponse", await ask(channel, "ServerLive")) == {"live": True}

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "agents").mkdir()
    served(tmp_path / "agents", body, secured, tls=context)
