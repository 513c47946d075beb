"""The gRPC server: what it serves, where it listens, its ticks, and how it stops."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from grandopt.errors import ServingError
from grandopt.serving.addresses import BACKLOG, address, bound
from grandopt.serving.grpc.calls import CALLS, HEALTH_CALLS, changes_state
from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.health import Health
from grandopt.serving.grpc.http2.connection import Connection
from grandopt.serving.grpc.http2.methods import Asker, Method, Streamed, Unary
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.grpc.infer_response import write_response
from grandopt.serving.grpc.inference import Inference
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.reflection import Reflection
from grandopt.serving.grpc.schema import Schema
from grandopt.serving.grpc.service_schemas import HEALTH, REFLECTIONS
from grandopt.serving.plane.plane import DataPlane

_TICK_S = 1.0
_LOOK_S = 0.01


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
        self._service = Service(self._methods(), options)
        self._servers: list[asyncio.Server] = []
        self._tick: asyncio.TimerHandle | None = None
        self._addresses: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as `host:port`; empty before the start."""
        return self._addresses

    async def start(self) -> None:
        """Listen and serve. Raises ConfigError for addresses that cannot be had."""
        if self._addresses:
            raise ServingError("the gRPC server was started already")
        loop, options = asyncio.get_running_loop(), self._options
        sockets = list(options.sockets)
        if options.host is not None:
            sockets += bound(options.host, options.port)
        self._service.now = loop.time()
        if options.tls is not None:
            options.tls.set_alpn_protocols(["h2"])
        for one in sockets:
            made = await loop.create_server(
                partial(Connection, self._service), sock=one, ssl=options.tls, backlog=BACKLOG
            )
            self._servers.append(made)
        self._addresses = tuple(address(one).removeprefix("http://") for one in sockets)
        self._pause_s = min(_TICK_S, options.request_s / 4)
        self._tick = loop.call_later(self._pause_s, self._ticked)

    def _ticked(self) -> None:
        loop = asyncio.get_running_loop()
        self._service.tick(loop.time())
        self._tick = loop.call_later(self._pause_s, self._ticked)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those under way end for `grace_s` seconds, and cancel the rest. Twice is
        allowed."""
        loop, service = asyncio.get_running_loop(), self._service
        service.stopping = True
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for connection in list(service.connections):
            connection.stop()
        end = loop.time() + grace_s
        while service.connections and loop.time() < end:
            await asyncio.sleep(_LOOK_S)
        for connection in list(service.connections):
            connection.abort()
        if self._tick is not None:
            self._tick.cancel()
        await asyncio.sleep(0)  # what was closed is told so

    def _methods(self) -> dict[bytes, Method]:
        plane = self._plane
        inference = Inference(plane, self._options.stream_window)
        served = (INFERENCE, HEALTH, *REFLECTIONS)
        calls: dict[str, Method] = {name: Unary(answer=partial(self._answer, name)) for name in CALLS}
        calls["ModelInfer"] = Unary(
            guarded=True, answer=inference.infer, written=write_response, at_once=True
        )
        calls["ModelStreamInfer"] = Streamed(guarded=True, answers=inference.stream)
        found = _named(INFERENCE, calls) | _named(HEALTH, Health(plane).methods())
        for one in REFLECTIONS:
            found |= _named(one, Reflection(one, served).methods())
        return found

    def _answer(self, name: str, data: bytes, asker: Asker, left_s: float | None) -> asyncio.Future[bytes]:
        """The answer of a call that is no inference. Raises ProtocolError."""
        request: dict[str, Any] = decode(INFERENCE, f"{name}Request", data)
        if name not in HEALTH_CALLS:
            # No web page can make such a call: a browser does not speak gRPC.
            changes = changes_state(name, request)
            self._options.access.check(asker.authorization, changes=changes, local=asker.local, browser=False)
        return asyncio.ensure_future(self._answered(name, request))

    async def _answered(self, name: str, request: dict[str, Any]) -> bytes:
        return encode(INFERENCE, f"{name}Response", await CALLS[name](self._plane, request))


def _named(schema: Schema, methods: dict[str, Method]) -> dict[bytes, Method]:
    """Calls by the paths at which they are asked."""
    return {f"/{schema.package}.{schema.service}/{name}".encode(): one for name, one in methods.items()}
