"""One server process: engine, repository, plane and transports, in one event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

from grandopt.config.cache import CacheConfig
from grandopt.runtime.engine.engine import Engine
from grandopt.serving.dashboard.pages import dashboard_routes
from grandopt.serving.dashboard.scrape import Scrape, metrics_route
from grandopt.serving.http.protocol_routes.protocol import protocol_routes
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.access import Access
from grandopt.serving.repository.repository import Repository
from grandopt.serving.routes import Route
from grandopt.serving.server.listeners import Listeners
from grandopt.serving.server.options import ServerOptions
from grandopt.serving.server.secrets import access, tls
from grandopt.serving.server.siblings import Siblings
from grandopt.serving.server.summary import Summary


class ServerInstance:
    """Serves in the running event loop what the options say. `siblings` are the other worker processes."""

    def __init__(
        self,
        options: ServerOptions,
        listeners: Listeners,
        siblings: Siblings | None = None,
        *,
        ring: bool = True,
    ) -> None:
        self._options = options
        self._listeners = listeners
        self._siblings = siblings
        self._with_ring = ring and options.ring is not None
        self._engine: Engine | None = None
        self._repository: Repository | None = None
        self._transports: dict[str, Any] = {}
        self.plane: DataPlane | None = None

    async def start(self) -> Summary:
        """Load and listen. Raises what is wrong with the options, the folder and the ports; what was begun is
        ended then."""
        try:
            return await self._start()
        except BaseException:
            await self.stop(0.0)
            raise

    async def _start(self) -> Summary:
        options = self._options
        rights, context = access(options), tls(options)
        self._engine = engine = Engine()
        await engine.initialize(options.profile)
        first = options.first
        if self._siblings is not None and options.model_control == "explicit":
            theirs = await self._siblings.served()
            first = first if theirs is None else theirs
        cache = None if options.cache_file is None else _cache(options.cache_file)
        self._repository = repository = Repository(
            options.folder, engine, mode=options.model_control, first=first, trust=options.trust, cache=cache
        )
        await repository.start()
        regions: Any = None
        if options.client_shm:
            from grandopt.serving.shared_memory.regions import SharedRegions

            regions = SharedRegions()
        self.plane = plane = (
            DataPlane(engine, repository, regions)
            if self._siblings is None
            else self._siblings.plane(engine, repository, regions)
        )
        await self._listen(plane, rights, context)
        if self._siblings is not None and options.model_control == "explicit":
            await self._siblings.catch_up(plane)
        addresses = {
            name: list(one.addresses) for name, one in self._transports.items() if name != "siblings"
        }
        return Summary(addresses, plane.index(), options.workers)

    async def _listen(self, plane: DataPlane, rights: Access, context: ssl.SSLContext | None) -> None:
        options, siblings = self._options, self._siblings
        scrape = Scrape(plane)
        metrics = metrics_route(scrape, None if siblings is None else siblings.texts)
        if siblings is not None:
            await self._add("siblings", siblings.server(plane, scrape))
            await siblings.begin(plane, scrape)
        routes = [
            *protocol_routes(plane),
            *dashboard_routes(plane, workers=options.workers),
            metrics,
        ]
        sockets = self._listeners.http()
        if sockets:
            http = HttpOptions(None, sockets=sockets, tls=context, limits=options.limits, access=rights)
            await self._add("http", HttpServer(plane, http, routes))
        sockets = self._listeners.metrics()
        if sockets:
            http = HttpOptions(None, sockets=sockets, tls=context, limits=options.limits, access=rights)
            await self._add("metrics", HttpServer(None, http, [metrics, *_health(routes)]))
        sockets = self._listeners.grpc()
        if sockets:
            # Imported while HTTP is answered. Its context is its own: what is spoken over TLS is said in it.
            await self._add("grpc", await asyncio.to_thread(_grpc, plane, sockets, rights, tls(options)))
        if self._with_ring and options.ring is not None:
            await self._add("ring", _ring(plane, options.ring))

    async def _add(self, name: str, transport: Any) -> None:
        self._transports[name] = transport
        await transport.start()

    async def stop(self, grace_s: float) -> None:
        """Finish what is under way, within `grace_s` seconds; nothing new is taken. Twice is allowed."""
        if self.plane is not None:
            self.plane.stop()
        asked, self._transports = self._transports, {}
        # Metrics and the other workers are answered to the end.
        late = [asked.pop(name) for name in ("metrics", "siblings") if name in asked]
        await asyncio.gather(*[one.stop(grace_s) for one in asked.values()])
        if self._siblings is not None:
            await self._siblings.end()  # with what was answered until now
        await asyncio.gather(*[one.stop(0.0) for one in late])
        if self._repository is not None:
            await self._repository.stop()
        if self._engine is not None:
            await self._engine.shutdown(drain=False)
        self._listeners.close()


def _cache(file: Path) -> CacheConfig:
    # Imported where a file is named: the models of jobs, and YAML, are a good part of a start.
    from grandopt.config.load import load_file

    return load_file(file).cache


def _health(routes: list[Route]) -> list[Route]:
    return [route for route in routes if route.path.startswith("/v2/health/")]


def _grpc(
    plane: DataPlane, sockets: tuple[socket.socket, ...], rights: Access, context: ssl.SSLContext | None
) -> Any:
    from grandopt.serving.grpc.options import GrpcOptions
    from grandopt.serving.grpc.server import GrpcServer

    return GrpcServer(plane, GrpcOptions(None, sockets=sockets, tls=context, access=rights))


def _ring(plane: DataPlane, path: Path) -> Any:
    from grandopt.serving.ring.server import RingServer

    return RingServer(plane, path)
