"""The HTTP server: where it listens, its ticks, and how it stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from grandopt.serving.addresses import BACKLOG, address, bound
from grandopt.serving.http.connection import Connection
from grandopt.serving.http.inference import Plane
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.service import Service
from grandopt.serving.protocol.access import OPEN, Access
from grandopt.serving.routes import Route

_TICK_S = 1.0
_LOOK_S = 0.01


@dataclass(frozen=True)
class HttpOptions:
    """What to listen on: sockets that are bound (and closed by the server), or `host` and `port` (0: any).

    `sockets` come with whether they are for this machine alone (a Unix socket is).
    """

    host: str | None = "127.0.0.1"
    port: int = 8000
    sockets: tuple[socket.socket, ...] = ()
    tls: ssl.SSLContext | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)
    access: Access = OPEN


class HttpServer:
    """Serves inference by `plane` (if there is one) and all `routes` in the running event loop."""

    def __init__(self, plane: Plane | None, options: HttpOptions, routes: Sequence[Route]) -> None:
        self.service = Service(plane, routes, options.limits, options.access)
        self._options = options
        self._servers: list[asyncio.Server] = []
        self._tick: asyncio.TimerHandle | None = None
        self.addresses: tuple[str, ...] = ()
        """Where it listens, such as http://127.0.0.1:8000 and unix:/run/gate.sock."""

    async def start(self) -> None:
        """Listen. Raises ConfigError for a port or a host that cannot be had."""
        loop, options = asyncio.get_running_loop(), self._options
        limits = options.limits
        self.service.now = loop.time()
        sockets = list(options.sockets)
        if options.host is not None:
            sockets += bound(options.host, options.port)
        for one in sockets:
            unix = one.family == socket.AF_UNIX
            server = await loop.create_server(
                self._connection, sock=one, ssl=None if unix else options.tls, backlog=BACKLOG
            )
            self._servers.append(server)
        self.addresses = tuple(address(one, tls=options.tls is not None) for one in sockets)
        times = (limits.header_s, limits.body_s, limits.idle_s, limits.write_s, limits.gone_s)
        self._pause_s = min(_TICK_S, *(time / 4 for time in times))
        self._tick = loop.call_later(self._pause_s, self._ticked)

    def _connection(self) -> Connection:
        return Connection(self.service)

    def _ticked(self) -> None:
        loop, service = asyncio.get_running_loop(), self.service
        service.now = now = loop.time()
        for connection in [one for one in service.connections if one.deadline < now]:
            connection.expire()
        self._tick = loop.call_later(self._pause_s, self._ticked)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Answer what was asked, refuse inference from now on, and close when nothing is open, or after
        `grace_s` seconds. Twice is allowed."""
        loop, service = asyncio.get_running_loop(), self.service
        service.ready = False
        for connection in list(service.connections):
            connection.stop()
        end = loop.time() + grace_s
        while (service.open or service.bodies) and loop.time() < end:
            await asyncio.sleep(_LOOK_S)
        for server in self._servers:
            server.close()
        for connection in list(service.connections):
            connection.close()
        while service.connections and loop.time() < end:
            await asyncio.sleep(_LOOK_S)
        for connection in list(service.connections):
            connection.abort()
        if self._tick is not None:
            self._tick.cancel()
        self._servers = []
        await asyncio.sleep(0)  # what was closed is told so
