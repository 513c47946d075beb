"""The model repository: what is there, load and unload."""

from __future__ import annotations

from typing import Any

from grandopt.serving.http.protocol_routes.bodies import EMPTY, answer, json_object
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import HttpRequest, HttpResponse, Route


def repository_routes(plane: DataPlane) -> list[Route]:
    async def index(request: HttpRequest) -> HttpResponse:
        ready = json_object(request, ("ready",)).get("ready", False)
        if type(ready) is not bool:
            raise ProtocolError(Code.INVALID, "ready must be true or false")
        return answer(plane.index(ready))

    async def load(request: HttpRequest) -> HttpResponse:
        await plane.load(request.fields["model"], _parameters(request))
        return EMPTY

    async def unload(request: HttpRequest) -> HttpResponse:
        await plane.unload(request.fields["model"], _parameters(request))
        return EMPTY

    return [
        Route("POST", "/v2/repository/index", index),
        Route("POST", "/v2/repository/models/{model}/load", load, changes=True),
        Route("POST", "/v2/repository/models/{model}/unload", unload, changes=True),
    ]


def _parameters(request: HttpRequest) -> dict[str, Any]:
    found = json_object(request, ("parameters",)).get("parameters", {})
    if type(found) is not dict:
        raise ProtocolError(Code.INVALID, "parameters must be an object")
    return found
