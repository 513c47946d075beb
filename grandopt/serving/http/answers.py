"""Answers as bytes."""

from __future__ import annotations

import math
from http import HTTPStatus

import orjson

from grandopt.serving.http.router import MethodError
from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.routes import JSON, HttpResponse

LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
"""The first line of an answer, by its status."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = LINES[200]
CLOSE, KEEP = b"Connection: close\r\n", b"Connection: keep-alive\r\n"
NO_BODY = (204, 304)


def refusal(error: ProtocolError) -> HttpResponse:
    """What a refused request is answered with: its text as JSON, and when to try again."""
    extra: tuple[tuple[str, str], ...] = ()
    status = error.code.status
    if status == 503:
        wait = error.retry_after_s
        seconds = 1 if wait is None or not math.isfinite(wait) else max(1, math.ceil(wait))
        extra = (("Retry-After", str(seconds)),)
    elif isinstance(error, MethodError):
        extra = (("Allow", error.allowed),)
    elif status == 401:
        extra = (("WWW-Authenticate", "Bearer"),)
    return HttpResponse(status, orjson.dumps({"error": error_text(error)}), JSON, extra)


def error_text(error: BaseException) -> str:
    """The text of an error as JSON can carry it: a half of a surrogate pair is shown as what it is."""
    return str(error).encode("utf-8", "backslashreplace").decode("utf-8")


def head_of(
    response: HttpResponse, *, connection: bytes, coding: str = "", length: int | None = None
) -> bytes:
    """The lines before the body of an answer, with the empty line; `length` where it is not the body's own.

    `connection` is CLOSE, KEEP or nothing. A length below 0 leaves Content-Length out.
    """
    status = response.status
    parts = [LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode(), connection]
    if length is None:
        length = len(response.body)
    if status not in NO_BODY:
        parts.append(b"Content-Type: %b\r\n" % _safe(response.content_type))
        if length >= 0:
            parts.append(b"Content-Length: %d\r\n" % length)
    if coding:
        parts.append(b"Content-Encoding: %b\r\nVary: Accept-Encoding\r\n" % coding.encode())
    parts += [b"%b: %b\r\n" % (_safe(name), _safe(value)) for name, value in response.headers]
    parts.append(b"\r\n")
    return b"".join(parts)


def _safe(text: str) -> bytes:
    """A header's text without what would end its line."""
    return text.encode("latin-1", "replace").translate(None, b"\r\n\0")
