"""What a page or a call other than inference is to the HTTP server: a route with its handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

JSON = "application/json"


class HttpRequest(NamedTuple):
    """A request as its handler gets it, within all limits: names of headers in lower case, body decompressed.

    `fields` are the parts of the path that the route names, percent-decoded.
    """

    method: str
    path: str
    fields: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class HttpResponse(NamedTuple):
    """What is sent back; `headers` beside Content-Type and Content-Length."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class EventStream(NamedTuple):
    """Server-sent events: each item is sent as it comes. The iterator is closed when the client has gone."""

    events: AsyncIterator[bytes]
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[HttpRequest], Awaitable[HttpResponse | EventStream]]


class Route(NamedTuple):
    """A path such as `/v2/models/{model}/ready`; what `changes` the server's state needs its token.

    What is `open` needs none even where all other calls do: files of the page that asks for it.
    """

    method: str
    path: str
    handler: Handler
    changes: bool = False
    open: bool = False
