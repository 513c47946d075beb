"""The other worker processes of a server: each answers the others at a Unix socket in one folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import quote

import orjson

from grandopt.runtime.engine.engine import Engine
from grandopt.serving.dashboard.scrape import Scrape
from grandopt.serving.http.protocol_routes.bodies import EMPTY, answer, json_object
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.plane.regions import Regions
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.repository.repository import Repository
from grandopt.serving.ring.socket_path import listening_at
from grandopt.serving.routes import HttpRequest, HttpResponse, Route
from grandopt.serving.server.ended import EVERY_S, Counted, counted, keep, together
from grandopt.serving.server.statistics import added

_log = logging.getLogger(__name__)
WITHIN_S = 5.0
LOADING_S = 120.0
Json = dict[str, Any]
Answered = tuple[int, bytes]
"""A status and a body."""


class WorkerPlane(DataPlane):
    """A plane whose changes reach the other workers, too."""

    def __init__(
        self, engine: Engine, repository: Repository, regions: Regions | None, siblings: Siblings
    ) -> None:
        super().__init__(engine, repository, regions)
        self._siblings = siblings

    async def load(self, model: str, parameters: Json) -> None:
        await super().load(model, parameters)
        await self._siblings.change("load", model, parameters)

    async def unload(self, model: str, parameters: Json) -> None:
        await super().unload(model, parameters)
        await self._siblings.change("unload", model, parameters)

    async def all_statistics(self, model: str = "", version: str = "") -> Json:
        return await self._siblings.statistics(self.statistics(model, version), model, version)

    async def set_logging(self, changes: Json) -> Json:
        settings = await super().set_logging(changes)
        await self._siblings.change("logging", "all", changes)
        return settings

    async def change_here(self, what: str, model: str, parameters: Json) -> None:
        """What another worker passes on."""
        if what == "logging":
            await super().set_logging(parameters)
        else:
            await (super().load if what == "load" else super().unload)(model, parameters)


class Siblings:
    """Worker number `slot` of those whose sockets are in `folder`."""

    def __init__(self, folder: Path, slot: int) -> None:
        self._folder = folder
        self._path = folder / f"{slot}.sock"
        self._before = counted(_last(self._path))
        """What those counted that had this slot before."""
        self._keeping: asyncio.Task[None] | None = None
        self._last_time = asyncio.Event()

    def plane(self, engine: Engine, repository: Repository, regions: Regions | None) -> WorkerPlane:
        return WorkerPlane(engine, repository, regions, self)

    def server(self, plane: DataPlane, scrape: Scrape) -> HttpServer:
        """What answers the others."""
        assert isinstance(plane, WorkerPlane)

        async def text(request: HttpRequest) -> HttpResponse:
            told = await asyncio.to_thread(together, [await scrape.text(), self._before.text])
            return HttpResponse(200, told.encode(), "text/plain")

        async def stats(request: HttpRequest) -> HttpResponse:
            own = plane.statistics(request.query.get("model", ""), request.query.get("version", ""))
            return answer(self._own(own))

        async def models(request: HttpRequest) -> HttpResponse:
            return answer(plane.models())

        async def change(request: HttpRequest) -> HttpResponse:
            parameters = json_object(request)
            await plane.change_here(request.fields["what"], request.fields["model"], parameters)
            return EMPTY

        routes = [
            Route("GET", "/text", text),
            Route("GET", "/stats", stats),
            Route("GET", "/models", models),
            Route("POST", "/change/{what}/{model}", change),
        ]
        return HttpServer(None, HttpOptions(None, sockets=(listening_at(self._path, 0o600),)), routes)

    async def begin(self, plane: DataPlane, scrape: Scrape) -> None:
        """Write the figures of this worker down, now and once in a second."""
        await self._keep(plane, scrape)
        self._keeping = asyncio.get_running_loop().create_task(self._keep_on(plane, scrape))

    async def end(self) -> None:
        """Write them once more, and no more."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            self._last_time.set()
            await keeping

    async def _keep_on(self, plane: DataPlane, scrape: Scrape) -> None:
        while not self._last_time.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._last_time.wait(), EVERY_S)
            try:
                await self._keep(plane, scrape)
            except OSError as error:
                _log.warning("what this worker counts is not kept: %s", error)

    async def _keep(self, plane: DataPlane, scrape: Scrape) -> None:
        texts = [await scrape.text(), self._before.text]
        await asyncio.to_thread(keep, _last(self._path), texts, self._own(plane.statistics()))

    async def texts(self) -> list[str]:
        """The metrics of all others, and of those that had this worker's slot before."""
        found = await self._all("GET", "/text")
        ended = [one.text for one in self._ended(found)]
        return [*(one[1].decode() for one in found.values() if _good(one)), *ended]

    async def statistics(self, own: Json, model: str, version: str) -> Json:
        """The statistics of all workers together."""
        path = f"/stats?model={quote(model, safe='')}&version={quote(version, safe='')}"
        found = await self._all("GET", path)
        theirs = [orjson.loads(one[1]) for one in found.values() if _good(one)]
        return added([own, *theirs, *(one.of(own) for one in self._ended(found))])

    def _own(self, living: Json) -> Json:
        """What this worker and those before it in its slot counted."""
        return added([living, self._before.of(living)])

    def _ended(self, found: Mapping[Path, Answered | None]) -> list[Counted]:
        """What those counted that live no longer, before this worker, and what those wrote down that do not
        answer now."""
        return [self._before, *(counted(_last(path)) for path, one in found.items() if not _good(one))]

    async def served(self) -> tuple[str, ...] | None:
        """The names that another worker serves, which may be none; None where there is no other."""
        for one in (await self._all("GET", "/models")).values():
            if _good(one):
                return tuple(orjson.loads(one[1]))
        return None

    async def catch_up(self, plane: DataPlane) -> None:
        """Load and unload what the others did while this worker started, and could not tell it yet."""
        assert isinstance(plane, WorkerPlane)
        theirs, own = await self.served(), plane.models()
        for name in () if theirs is None else {*theirs, *own}:
            if (name in own) != (name in (theirs or ())):
                try:
                    await plane.change_here("unload" if name in own else "load", name, {})
                except ProtocolError as error:
                    _log.warning("%s", error)

    async def change(self, what: str, model: str, parameters: Json) -> None:
        """Pass a change on; raises ProtocolError where another worker could not follow it."""
        path = f"/change/{what}/{quote(model, safe='')}"
        found = await self._all("POST", path, orjson.dumps(parameters), LOADING_S)
        for one in found.values():
            if one is not None and one[0] != 200:
                why = orjson.loads(one[1])["error"]
                raise ProtocolError(
                    Code.INTERNAL, f"another worker did not follow in {what} {model!r}: {why}"
                )

    async def _all(
        self, method: str, path: str, body: bytes = b"", within_s: float | None = None
    ) -> dict[Path, Answered | None]:
        """What all others answer, by their sockets; None for one that has died."""
        slots = {one.stem for one in self._folder.iterdir() if one.suffix in (".sock", ".last")}
        others = [self._folder / f"{one}.sock" for one in sorted(slots - {self._path.stem})]
        asked = [_ask(one, method, path, body, within_s or WITHIN_S) for one in others]
        return dict(zip(others, await asyncio.gather(*asked), strict=True))


def _last(path: Path) -> Path:
    """Where the worker at a socket writes what it has counted."""
    return path.with_suffix(".last")


def _good(one: Answered | None) -> TypeGuard[Answered]:
    return one is not None and one[0] == 200


async def _ask(socket: Path, method: str, path: str, body: bytes, within_s: float) -> Answered | None:
    head = f"{method} {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n"
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                found = await reader.read()
            finally:
                writer.close()
    except TimeoutError:  # it lives, and does not do what it was asked
        return 503, orjson.dumps({"error": f"it did not answer within {within_s:g} s"})
    except OSError:
        return None  # a worker that has just ended is replaced
    lines, _, rest = found.partition(b"\r\n\r\n")
    words = lines.split(maxsplit=2)
    if len(words) < 3 or len(rest) != _length(lines):
        return None  # it died while it answered
    return int(words[1]), rest


def _length(lines: bytes) -> int:
    """Bytes of the body that a response's first lines announce; -1 where they do not."""
    for line in lines.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return -1
