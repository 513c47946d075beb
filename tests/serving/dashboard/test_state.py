"""What the page is told, of a real engine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.artifacts.artifact import write
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.config.cache import CacheConfig
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import Origin
from grandopt.serving.dashboard.feed import finite
from grandopt.serving.dashboard.pages import dashboard_routes
from grandopt.serving.dashboard.report import artifact_report
from grandopt.serving.dashboard.state import past, server_state
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import HttpRequest, HttpResponse, Route
from tests.runtime.engine.agents import line
from tests.serving.metrics.served import run


def state_of(plane: DataPlane, **given: Any) -> dict[str, Any]:
    told = server_state(plane.engine, plane.index(), (), version="1.2.3", ready=True, **given)
    return json.loads(json.dumps(finite(told), allow_nan=False))


def test_counts_and_why_there_is_no_percentile() -> None:
    async def body(plane: DataPlane) -> tuple[dict[str, Any], dict[str, Any]]:
        monitor = plane.engine.monitor
        assert monitor is not None
        monitor.look()
        return state_of(plane), past(monitor, plane.engine.agents)

    told, before = run(body)
    gate, broken = told["agents"]
    assert gate["name"] == "gate"
    assert gate["totals"]["answered"] == 100
    assert broken["totals"]["failed"] == 2
    assert gate["batches"]["count"] >= 1
    assert sum(gate["batches"]["released"].values()) == gate["batches"]["count"]
    assert gate["missing"]["p99.9"].startswith("needs 6636 samples")
    assert gate["drift"]["drifted"] is None
    assert gate["cache"] is None
    assert told["server"] | {"seconds": 0, "pid": 0, "parts": []} == {
        "version": "1.2.3",
        "ready": True,
        "profile": "standard",
        "parts": [],
        "seconds": 0,
        "pid": 0,
        "monitored": True,
    }
    assert told["process"]["figures"]["resident"] > 10_000_000
    assert [one["agent"] for one in told["silent"]][:1] == ["gate"]
    assert len(before["agents"]["gate"]["at"]) == len(before["agents"]["gate"]["p99.9"]) >= 1
    assert len(before["process"]["resident"]) >= 1


def test_without_a_monitor_there_are_counts_alone() -> None:
    async def body(plane: DataPlane) -> tuple[dict[str, Any], dict[str, Any]]:
        return state_of(plane), past(plane.engine.monitor, plane.engine.agents)

    told, before = run(body, monitoring=False)
    assert told["server"]["monitored"] is False
    assert told["agents"][0]["totals"]["answered"] == 100
    assert told["agents"][0]["figures"] == {}
    assert told["agents"][0]["window_s"] is None
    assert told["silent"][0]["text"].startswith("monitoring is off")
    assert before == {"process": {}, "agents": {}}


def test_answers_of_a_cache_are_a_rate_of_their_own() -> None:
    async def body() -> dict[str, Any]:
        engine = Engine()
        await engine.initialize("standard")
        async with engine:
            engine.add("kept", line(), cache=CacheConfig(must_pay=False))
            assert engine.monitor is not None
            engine.monitor.look()
            for _ in range(50):
                await engine.infer("kept", np.ones(4, np.float32))
            engine.monitor.look()
            told = server_state(engine, [], (), version="1.2.3", ready=True)
            return json.loads(json.dumps(finite(told), allow_nan=False))

    (kept,) = asyncio.run(body())["agents"]
    assert kept["cache"][0]["hits"] == 49
    assert kept["figures"]["hits_rate"] > 0
    assert kept["totals"]["answered"] == 1


BARE = Manifest(
    name="gate",
    engine="native",
    precision="float32",
    signature={"inputs": [{"name": "x", "shape": [4], "dtype": "float32"}], "outputs": []},
    source=Source(format="memory", weights="memory"),
    payload=(),
    machine="x86_64",
    built_by="grandopt 1.2.3",
)


def test_the_report_says_what_the_manifest_holds(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare", BARE, {"agent.so": b"code"}).manifest
    evidence = {
        "figures": {"p50_us": 0.32, "qps": 1.9e6, "unavailable": {}, "p999_us": None},
        "speedup": {"value": 165.0, "low": 145.0, "high": 182.0, "confidence": 0.95, "pairs": 270},
        "verification": {"passed": True, "cases": 23, "outputs": [{"name": "y", "error": 0.001, "more": 1}]},
        "recipe": {"machine": {"cpu_model": "a processor", "identity": "secret"}},
    }
    manifest = write(tmp_path / "with", replace(BARE, evidence=evidence), {"agent.so": b"code"}).manifest
    told = artifact_report(Origin("native", manifest.digest, tmp_path / "with"))
    assert told["figures"] == {"p50_us": 0.32, "qps": 1.9e6}
    assert told["speedup"]["value"] == 165.0
    assert told["verification"] == {"passed": True, "cases": 23}
    assert told["verified_outputs"] == [{"name": "y", "error": 0.001}]
    assert told["machine"] == {"cpu_model": "a processor"}
    assert told["inputs"] == [{"name": "x", "shape": [4], "dtype": "float32"}]
    less = artifact_report(Origin("native", bare.digest, tmp_path / "bare"))
    assert less["figures"] == less["speedup"] == less["verification"] == {}
    assert "newer build" in artifact_report(Origin("native", "0" * 64, tmp_path / "bare"))["missing"]
    assert "cannot be read" in artifact_report(Origin("native", "0", tmp_path / "nothing"))["missing"]
    assert "in memory" in artifact_report(Origin("Line", "0"))["missing"]


async def called(routes: list[Route], method: str, path: str, **fields: str) -> HttpResponse:
    (route,) = (one for one in routes if (one.method, one.path) == (method, path))
    answer = await route.handler(HttpRequest(method, path, fields, {}, {}, b""))
    assert isinstance(answer, HttpResponse)
    return answer


def test_reports_and_promotions_by_their_routes() -> None:
    async def body(plane: DataPlane) -> None:
        shadow = plane.engine.shadow("gate", line(3.0))
        routes = dashboard_routes(plane, shadows=lambda: [shadow])
        assert [one.path for one in routes if one.changes] == ["/dashboard/shadows/{agent}/{digest}/promote"]
        answer = await called(routes, "GET", "/dashboard/reports/{agent}", agent="gate")
        assert "in memory" in json.loads(answer.body)["missing"]
        with pytest.raises(ProtocolError, match="no agent 'nobody' is served") as refused:
            await called(routes, "GET", "/dashboard/reports/{agent}", agent="nobody")
        assert refused.value.code is Code.NOT_FOUND
        promote = "/dashboard/shadows/{agent}/{digest}/promote"
        with pytest.raises(ProtocolError, match="no candidate 'other' runs beside 'gate'"):
            await called(routes, "POST", promote, agent="gate", digest="other")
        digest = shadow.report().candidate.digest[:12]
        await called(routes, "POST", promote, agent="gate", digest=digest)
        assert (await plane.engine.infer("gate", np.ones(4, np.float32)))[0] == 3.0
        with pytest.raises(ProtocolError, match="no candidate"):
            await called(routes, "POST", promote, agent="gate", digest=digest)

    run(body)


def test_files_are_sent_once_and_allow_nothing_from_elsewhere() -> None:
    async def body(plane: DataPlane) -> None:
        for route in dashboard_routes(plane):
            if not (route.path == "/" or "." in route.path):
                continue
            first = await route.handler(HttpRequest("GET", route.path, {}, {}, {}, b""))
            assert isinstance(first, HttpResponse)
            headers = dict(first.headers)
            assert first.status == 200
            assert first.body
            assert headers["Content-Security-Policy"].startswith("default-src 'self';")
            assert "unsafe" not in headers["Content-Security-Policy"]
            known = {"if-none-match": f'"other", {headers["ETag"]}'}
            again = await route.handler(HttpRequest("GET", route.path, {}, {}, known, b""))
            assert isinstance(again, HttpResponse)
            assert (again.status, again.body) == (304, b"")

    run(body)
