"""Settings of logging and tracing."""

from __future__ import annotations

from grandopt.serving.http.protocol_routes.bodies import answer, json_object
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.routes import HttpRequest, HttpResponse, Route

LOGGING, TRACE, MODEL_TRACE = "/v2/logging", "/v2/trace/setting", "/v2/models/{model}/trace/setting"


def settings_routes(plane: DataPlane) -> list[Route]:
    async def logging(request: HttpRequest) -> HttpResponse:
        return answer(plane.logging_settings())

    async def set_logging(request: HttpRequest) -> HttpResponse:
        return answer(await plane.set_logging(json_object(request)))

    async def trace(request: HttpRequest) -> HttpResponse:
        return answer(plane.trace_settings(model=request.fields.get("model", "")))

    async def set_trace(request: HttpRequest) -> HttpResponse:
        return answer(plane.trace_settings(json_object(request), request.fields.get("model", "")))

    return [
        Route("GET", LOGGING, logging),
        Route("POST", LOGGING, set_logging, changes=True),
        Route("GET", TRACE, trace),
        Route("POST", TRACE, set_trace, changes=True),
        Route("GET", MODEL_TRACE, trace),
        Route("POST", MODEL_TRACE, set_trace, changes=True),
    ]
