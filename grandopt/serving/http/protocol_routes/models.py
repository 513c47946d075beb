"""The server and its models: health, metadata, configuration, statistics."""

from __future__ import annotations

from grandopt.serving.http.protocol_routes.bodies import answer
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import Handler, HttpRequest, HttpResponse, Route

MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"


def model_routes(plane: DataPlane) -> list[Route]:
    async def stats(request: HttpRequest) -> HttpResponse:
        return answer(await plane.all_statistics(*_named(request)))

    async def live(request: HttpRequest) -> HttpResponse:
        return answer({"live": plane.live}, 200 if plane.live else 503)

    async def ready(request: HttpRequest) -> HttpResponse:
        state = plane.ready
        # Some clients read the one name, some the other.
        return answer({"ready": state, "live": state}, 200 if state else 503)

    async def model_ready(request: HttpRequest) -> HttpResponse:
        model, version = _named(request)
        if not plane.model_ready(model, version):
            raise ProtocolError(Code.UNAVAILABLE, f"model {model!r} is not ready", 1.0)
        return answer({"name": model, "ready": True})

    async def models(request: HttpRequest) -> HttpResponse:
        return answer({"models": plane.models()})

    async def server(request: HttpRequest) -> HttpResponse:
        return answer(plane.server_metadata())

    async def metadata(request: HttpRequest) -> HttpResponse:
        return answer(plane.model_metadata(*_named(request)))

    async def config(request: HttpRequest) -> HttpResponse:
        return answer(plane.model_config(*_named(request)))

    def both(tail: str, handler: Handler) -> list[Route]:
        return [Route("GET", MODEL + tail, handler), Route("GET", VERSION + tail, handler)]

    return [
        Route("GET", "/v2", server),
        Route("GET", "/v2/health/live", live),
        Route("GET", "/v2/health/ready", ready),
        Route("GET", "/v2/models", models),
        Route("GET", "/v2/models/stats", stats),
        *both("", metadata),
        *both("/ready", model_ready),
        *both("/config", config),
        *both("/stats", stats),
    ]


def _named(request: HttpRequest) -> tuple[str, str]:
    return request.fields.get("model", ""), request.fields.get("version", "")
