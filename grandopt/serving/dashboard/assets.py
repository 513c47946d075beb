"""The files of the page, which browsers keep until they change."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from grandopt.serving.routes import HttpRequest, HttpResponse, Route

FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline, and no frame of somebody else's page."""
SAFE = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


def asset_routes() -> list[Route]:
    """`/` and `/dashboard/FILE` for each file of the page."""
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in TYPES)
    routes = [_route("/", FOLDER / "index.html")]
    return routes + [_route(f"/dashboard/{path.name}", path) for path in files]


def _route(at: str, path: Path) -> Route:
    async def answer(request: HttpRequest) -> HttpResponse:
        body, tag = _file(path)
        headers = (*SAFE, ("ETag", tag), ("Cache-Control", "no-cache"))
        content_type = TYPES[path.suffix]
        known = request.headers.get("if-none-match", "")
        if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
            return HttpResponse(304, b"", content_type, headers)
        return HttpResponse(200, body, content_type, headers)

    return Route("GET", at, answer, open=True)


@cache
def _file(path: Path) -> tuple[bytes, str]:
    body = path.read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:20]}"'
