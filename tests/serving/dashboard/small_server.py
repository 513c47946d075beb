"""Routes behind a plain HTTP server, enough for a browser on the same machine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import unquote

from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.routes import EventStream, HttpRequest, HttpResponse, Route

TOKEN = "let me in"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


class SmallServer:
    """Answers one request per connection. What changes state needs TOKEN."""

    def __init__(self, routes: Sequence[Route], *, guarded: bool = False) -> None:
        self._routes = [(route, _pattern(route.path)) for route in routes]
        self.guarded = guarded
        self.streams = 0
        self._following: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break the connections of all that follow events."""
        for writer in self._following:
            writer.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            said = await self._called(request)
            await self._write(writer, said)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> HttpRequest:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rest if row)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return HttpRequest(method, path, {}, {}, headers, body)

    async def _called(self, request: HttpRequest) -> HttpResponse | EventStream:
        for route, pattern in self._routes:
            found = pattern.fullmatch(request.path)
            if found is None or route.method != request.method:
                continue
            guarded = route.changes or (self.guarded and request.path.startswith("/events"))
            if guarded and request.headers.get("authorization") != f"Bearer {TOKEN}":
                return HttpResponse(401, b'{"error": "needs the token of this server"}')
            fields = {name: unquote(value) for name, value in found.groupdict().items()}
            try:
                return await route.handler(request._replace(fields=fields))
            except ProtocolError as error:
                return HttpResponse(error.code.status, json.dumps({"error": str(error)}).encode())
        return HttpResponse(404, b'{"error": "not here"}')

    async def _write(self, writer: asyncio.StreamWriter, said: HttpResponse | EventStream) -> None:
        if isinstance(said, EventStream):
            self._head(writer, 200, (("Content-Type", "text/event-stream"), *said.headers))
            self.streams += 1
            self._following.add(writer)
            try:
                async for event in said.events:
                    writer.write(event)
                    await writer.drain()
            finally:
                self.streams -= 1
                self._following.discard(writer)
                await said.events.aclose()  # type: ignore[attr-defined]
            return
        length = ("Content-Length", str(len(said.body)))
        self._head(writer, said.status, (("Content-Type", said.content_type), length, *said.headers))
        writer.write(said.body)
        await writer.drain()

    def _head(self, writer: asyncio.StreamWriter, status: int, headers: Sequence[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())


@asynccontextmanager
async def serving(small: SmallServer) -> AsyncIterator[str]:
    """The address at which it answers."""
    server = await asyncio.start_server(small.answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
