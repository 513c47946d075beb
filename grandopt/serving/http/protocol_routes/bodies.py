"""Bodies of calls other than inference."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from grandopt.serving.http.depth import deeper
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import HttpRequest, HttpResponse

DEPTH = 100


def json_object(request: HttpRequest, known: Collection[str] | None = None) -> dict[str, Any]:
    """The body as an object, empty where there is none; `known` are the members that it may have.

    Raises ProtocolError for another body.
    """
    text = request.body
    if not text.strip():
        return {}
    if deeper(text, DEPTH):
        raise ProtocolError(Code.INVALID, f"the JSON text is nested more than {DEPTH} deep")
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(Code.INVALID, f"the body is not JSON: {error!s:.120}") from None
    if type(given) is not dict:
        raise ProtocolError(Code.INVALID, "the body must be a JSON object")
    for name in given:
        if known is not None and name not in known:
            words = ", ".join(known) or "none"
            raise ProtocolError(Code.INVALID, f"{name!r:.80} is not known here; known are {words}")
    return given


def answer(data: Any, status: int = 200) -> HttpResponse:
    """Plain data as JSON."""
    return HttpResponse(status, orjson.dumps(data))


EMPTY = HttpResponse(200, b"{}")
