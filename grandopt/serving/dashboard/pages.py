"""The dashboard: its page, what the page follows, and the reports of agents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable

from grandopt.errors import GrandoptError
from grandopt.runtime.engine.shadow import Shadow
from grandopt.serving.dashboard.agent_state import Json
from grandopt.serving.dashboard.assets import SAFE, asset_routes
from grandopt.serving.dashboard.feed import Feed, finite
from grandopt.serving.dashboard.report import artifact_report
from grandopt.serving.dashboard.source import Source
from grandopt.serving.dashboard.state import past, server_state
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.routes import EventStream, HttpRequest, HttpResponse, Route

Shadows = Callable[[], Iterable[Shadow]]
"""Gives the candidates that run beside agents; called on the event loop."""

NOT_KEPT = (*SAFE, ("Cache-Control", "no-store"))


def dashboard_routes(
    plane: Source, *, shadows: Shadows = tuple, every_s: float = 1.0, workers: int = 1
) -> list[Route]:
    """`/` with its files, `/events` for who follows, `/dashboard/reports/{agent}`, and the promotion of a
    candidate, which changes what is served.

    The page is told of the process that answers it: one of so many `workers`, which it says.
    """

    async def look() -> Json:
        version = plane.server_metadata()["version"]
        index, ready, reports = plane.index(), plane.ready, [one.report() for one in shadows()]
        told = await asyncio.to_thread(
            server_state, plane.engine, index, reports, version=version, ready=ready
        )
        told["server"]["workers"] = workers
        return told

    async def before() -> Json:
        engine = plane.engine
        return await asyncio.to_thread(past, engine.monitor, engine.agents)

    feed = Feed(look, before, every_s=every_s)

    async def events(request: HttpRequest) -> EventStream:
        return EventStream(feed.follow(), NOT_KEPT)

    async def report(request: HttpRequest) -> HttpResponse:
        agent = plane.engine.stats().agents.get(request.fields["agent"])
        if agent is None:
            raise ProtocolError(Code.NOT_FOUND, f"no agent {request.fields['agent']!r:.100} is served")
        told = await asyncio.to_thread(artifact_report, agent.answering)
        return HttpResponse(body=json.dumps(finite(told)).encode(), headers=NOT_KEPT)

    async def promote(request: HttpRequest) -> HttpResponse:
        agent, digest = request.fields["agent"], request.fields["digest"]
        for one in shadows():
            known = one.report()
            if known.active and known.agent == agent and known.candidate.digest.startswith(digest):
                try:
                    await one.promote()
                except GrandoptError as error:
                    raise refused(error) from error
                return HttpResponse(body=b"{}", headers=NOT_KEPT)
        raise ProtocolError(Code.NOT_FOUND, f"no candidate {digest!r:.40} runs beside {agent!r:.100}")

    return [
        *asset_routes(),
        Route("GET", "/events", events),
        Route("GET", "/dashboard/reports/{agent}", report),
        Route("POST", "/dashboard/shadows/{agent}/{digest}/promote", promote, changes=True),
    ]
