"""The gRPC server: handlers of bytes on `grpc.aio`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio

from grandopt.errors import ConfigError, ServingError
from grandopt.serving.grpc.arrivals import Arrivals
from grandopt.serving.grpc.authorization import require_allowed
from grandopt.serving.grpc.calls import CALLS, HEALTH_CALLS, changes_state
from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.health import Health
from grandopt.serving.grpc.inference import Inference
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.reflection import Reflection
from grandopt.serving.grpc.service_schemas import HEALTH, REFLECTIONS
from grandopt.serving.grpc.status import Context, abort
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import ProtocolError

T = TypeVar("T")
R = TypeVar("R")
Handler = Callable[[bytes, Context], Awaitable[bytes]]


class GrpcServer:
    """Serves a data plane in the running event loop, which has to be the data plane's.

    ::

        server = GrpcServer(plane, GrpcOptions(port=0))
        await server.start()
        print(server.addresses)
        await server.stop(grace_s=5.0)
    """

    def __init__(self, plane: DataPlane, options: GrpcOptions) -> None:
        self._plane = plane
        self._options = options
        self._arrivals = Arrivals(options.request_s, options.max_streams)
        self._server: grpc.aio.Server | None = None
        self._addresses: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as `host:port`; empty before the start."""
        return self._addresses

    async def start(self) -> None:
        """Listen and serve. Raises ConfigError for certificates and addresses that cannot be used."""
        if self._server is not None:
            raise ServingError("the gRPC server was started already")
        options = self._options
        server = grpc.aio.server(options=_channel_options(options), maximum_concurrent_rpcs=options.max_calls)
        server.add_generic_rpc_handlers(self._handlers())
        host = f"[{options.host}]" if ":" in options.host else options.host
        try:
            port = self._listen(server, f"{host}:{options.port}")
        except RuntimeError as error:
            raise ConfigError(
                f"gRPC cannot listen at {host}:{options.port}: the port is in use, or the address is not "
                "this machine's; choose another with --grpc-port or --host"
            ) from error
        self._server, self._addresses = server, (f"{host}:{port}",)
        await server.start()
        self._arrivals.begin()

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those under way end for `grace_s` seconds, and cancel the rest."""
        if self._server is not None:
            await self._server.stop(grace_s)
            await self._arrivals.end()

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        certificate, key = self._options.tls_certificate, self._options.tls_key
        if certificate is None and key is None:
            return int(server.add_insecure_port(address))
        if certificate is None or key is None:
            raise ConfigError("TLS takes both --tls-cert and --tls-key")
        return int(server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)])))

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        inference = Inference(self._plane, self._options.stream_window)
        guarded = self._options.access.for_all
        infer = self._guarded(inference.infer) if guarded else inference.infer
        stream = self._guarded(inference.stream) if guarded else inference.stream
        arrivals = self._arrivals
        calls = {name: arrivals.unary(self._call(name)) for name in CALLS}
        calls["ModelInfer"] = arrivals.unary(infer)
        calls["ModelStreamInfer"] = arrivals.streamed(stream)
        served = (INFERENCE, HEALTH, *REFLECTIONS)
        return (
            grpc.method_handlers_generic_handler(f"{INFERENCE.package}.{INFERENCE.service}", calls),
            Health(self._plane, arrivals).handler(),
            *(Reflection(one, served, arrivals).handler() for one in REFLECTIONS),
        )

    def _call(self, name: str) -> Handler:
        """The handler of a call that is no inference."""
        answer, access = CALLS[name], self._options.access

        async def handle(data: bytes, context: Context) -> bytes:
            try:
                request = decode(INFERENCE, f"{name}Request", data)
                if name not in HEALTH_CALLS:
                    require_allowed(access, context, changes_state(name, request))
                response = await answer(self._plane, request)
            except ProtocolError as error:
                return await abort(context, error)
            return encode(INFERENCE, f"{name}Response", response)

        return handle

    def _guarded(self, handler: Callable[[T, Context], Awaitable[R]]) -> Callable[[T, Context], Awaitable[R]]:
        """An inference handler, for those who have the token."""
        access = self._options.access

        async def handle(request: T, context: Context) -> R:
            try:
                require_allowed(access, context, changes=False)
            except ProtocolError as error:
                await abort(context, error)
            return await handler(request, context)

        return handle


def _channel_options(options: GrpcOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(options.reuse_port)),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", options.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * options.max_metadata_bytes),
        ("grpc.max_concurrent_streams", options.max_calls_per_connection),
        ("grpc.max_allowed_incoming_connections", options.max_connections),
        ("grpc.keepalive_time_ms", int(options.keepalive_s * 1e3)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout_s * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(options.shortest_ping_interval_s * 1e3)),
    ]
