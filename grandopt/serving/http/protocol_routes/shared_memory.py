"""Shared memory of clients: the system's, and of GPUs, which is not served."""

from __future__ import annotations

from typing import Any

from grandopt.serving.http.protocol_routes.bodies import EMPTY, answer, json_object
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import HttpRequest, HttpResponse, Route

SYSTEM, CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
REGION = "/region/{region}"
CALLS = (
    ("GET", "/status"),
    ("GET", REGION + "/status"),
    ("POST", REGION + "/register"),
    ("POST", "/unregister"),
    ("POST", REGION + "/unregister"),
)


def shared_memory_routes(plane: DataPlane) -> list[Route]:
    async def status(request: HttpRequest) -> HttpResponse:
        return answer(_regions(plane).status(request.fields.get("region", "")))

    async def register(request: HttpRequest) -> HttpResponse:
        given = json_object(request, ("key", "offset", "byte_size"))
        key = given.get("key")
        if type(key) is not str:
            raise ProtocolError(Code.INVALID, "key must be the name of the shared memory")
        _regions(plane).register(
            request.fields["region"], key, _size(given, "offset", 0), _size(given, "byte_size", None)
        )
        return EMPTY

    async def unregister(request: HttpRequest) -> HttpResponse:
        json_object(request, ())
        _regions(plane).unregister(request.fields.get("region", ""))
        return EMPTY

    async def cuda(request: HttpRequest) -> HttpResponse:
        raise ProtocolError(Code.UNSUPPORTED, "shared memory of GPUs is not served here")

    handlers = {"status": status, "register": register, "unregister": unregister}
    return [
        *(
            Route(method, SYSTEM + path, handlers[path.rpartition("/")[2]], changes=method == "POST")
            for method, path in CALLS
        ),
        *(Route(method, CUDA + path, cuda) for method, path in CALLS),
    ]


def _regions(plane: DataPlane) -> Any:
    if plane.regions is None:
        raise ProtocolError(
            Code.UNSUPPORTED, "shared memory of clients is off; start the server with --allow-client-shm"
        )
    return plane.regions


def _size(given: dict[str, Any], name: str, default: int | None) -> int:
    value = given.get(name, default)
    if type(value) is not int or value < 0:
        raise ProtocolError(Code.INVALID, f"{name} must be a whole number of 0 or more")
    return value
