"""The Open Inference Protocol behind Ray Serve's HTTP proxy.

The proxy has parsed a request; what it asks is read by the same service that reads our own server's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from grandopt.runtime.engine.engine import Engine
from grandopt.serving.http.answers import refusal
from grandopt.serving.http.protocol_routes.protocol import protocol_routes
from grandopt.serving.http.service import Service
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.repository.repository import Repository
from grandopt.serving.routes import HttpResponse

_OF_THE_CONNECTION = frozenset({b"transfer-encoding", b"content-length", b"expect", b"connection"})


class Ingress:
    """Answers HTTP requests with the agents of one engine; it belongs to the engine's event loop."""

    def __init__(self, engine: Engine, repository: Repository) -> None:
        plane = DataPlane(engine, repository)
        self._service = Service(plane, protocol_routes(plane))

    async def answer(self, request: Any) -> Any:
        """The Starlette response to a Starlette request."""
        from starlette.responses import Response

        body = await request.body()
        response, coding = await self._answered(head_of(request.scope, len(body)), body)
        made = Response(
            b"" if request.method == "HEAD" else response.body,
            response.status,
            dict(response.headers),
            response.content_type,
        )
        if coding:
            made.headers["content-encoding"] = coding
        return made

    async def _answered(self, head: bytes, body: bytes) -> tuple[HttpResponse, str]:
        try:
            # Whoever asks comes through the proxy: nobody is known to be on this machine.
            call = self._service.call(head, local=False)
        except ProtocolError as error:
            return refusal(error), ""
        return await self._service.answer(call, body)


def head_of(scope: dict[str, Any], length: int) -> bytes:
    """The head of a request as a client would send it, below the application's own prefix.

    `scope` is ASGI's; the body, of `length` bytes, has come as a whole.
    """
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    path = path.partition(b"?")[0]
    prefix = quote(scope.get("root_path", "")).encode()
    if prefix and path.startswith(prefix):
        path = path[len(prefix) :]
    query = scope.get("query_string", b"")
    target = b"%b?%b" % (path or b"/", query) if query else path or b"/"
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target)]
    lines += [
        b"%b: %b" % (name, value)
        for name, value in scope["headers"]
        if name.lower() not in _OF_THE_CONNECTION
    ]
    if length or scope["method"] in ("POST", "PUT"):
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"
