"""All calls of the protocol other than inference, with its OpenAPI document."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from grandopt.serving.http.protocol_routes.models import model_routes
from grandopt.serving.http.protocol_routes.repository import repository_routes
from grandopt.serving.http.protocol_routes.settings import settings_routes
from grandopt.serving.http.protocol_routes.shared_memory import shared_memory_routes
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.routes import HttpRequest, HttpResponse, Route

OPENAPI = Path(__file__).parents[1] / "openapi.json"


def protocol_routes(plane: DataPlane) -> list[Route]:
    """The routes of a plane."""
    return [
        *model_routes(plane),
        *repository_routes(plane),
        *settings_routes(plane),
        *shared_memory_routes(plane),
        Route("GET", "/openapi.json", _openapi),
    ]


async def _openapi(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, _document())


@cache
def _document() -> bytes:
    return OPENAPI.read_bytes()
