"""`/metrics`: what Prometheus asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.serving.dashboard.source import Source
from grandopt.serving.metrics.engine import engine_families
from grandopt.serving.metrics.families import Family, negotiated, render
from grandopt.serving.metrics.merge import merged
from grandopt.serving.metrics.triton import triton_families
from grandopt.serving.routes import HttpRequest, HttpResponse, Route

Others = Callable[[], Awaitable[Sequence[str]]]
"""Gives the texts of the other workers of the same server, as their `Scrape.text` wrote them."""


class Scrape:
    """The figures of a server. It belongs to the engine's event loop; texts are written on another thread."""

    def __init__(self, plane: Source, *, triton: bool = True) -> None:
        self._plane = plane
        self._triton = triton
        self._process = ProcessReader()
        self._turn = asyncio.Lock()

    async def families(self) -> list[Family]:
        """All families of this process as they are now."""
        statistics = self._plane.statistics()["model_stats"] if self._triton else []
        failures = self._plane.failures() if self._triton else {}
        version = self._plane.server_metadata()["version"]
        stats = self._plane.engine.stats()

        def build() -> list[Family]:
            theirs = triton_families(statistics, failures, stats.agents) if self._triton else []
            return [*theirs, *engine_families(stats, self._process, version)]

        async with self._turn:  # the process is read by one at a time
            return await asyncio.to_thread(build)

    async def text(self) -> str:
        """The text of this process alone, for `merged`."""
        return render(await self.families()).decode()


def metrics_route(scrape: Scrape, others: Others | None = None) -> Route:
    """`GET /metrics`, in the text format or as OpenMetrics; with `others`, all workers' figures as one."""

    async def answer(request: HttpRequest) -> HttpResponse:
        content_type = negotiated(request.headers.get("accept", ""))
        if others is None:
            families = await scrape.families()
        else:
            texts = [await scrape.text(), *await others()]
            families = await asyncio.to_thread(merged, texts)
        return HttpResponse(body=render(families, content_type), content_type=content_type)

    return Route("GET", "/metrics", answer)
