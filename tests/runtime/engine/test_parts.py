"""What runs beside the agents: monitoring, tuning, recommendations, by profile."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grandopt.config.serving_profiles import SERVING
from grandopt.errors import ConfigError, EngineClosed
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.monitoring.exposition import exposition
from grandopt.runtime.monitoring.monitor import Monitor
from tests.runtime.engine.agents import line

X = np.arange(4, dtype=np.float32)


def served(body: Callable[[Engine], Awaitable[Any]], engine: Engine | None = None, **changes: Any) -> Any:
    """What `body` gives with an engine; no thread is left of it."""

    async def main() -> Any:
        made = engine or Engine()
        await made.initialize(**{"memory": False, "workers": "inline", **changes})
        async with made:
            made.add("line", line())
            return await body(made)

    before = set(threading.enumerate())
    result = asyncio.run(main())
    assert set(threading.enumerate()) <= before
    return result


@pytest.mark.parametrize("profile", list(SERVING))
def test_a_profile_switches_its_parts_on_and_only_those_that_run_are_named(profile: str) -> None:
    async def body(engine: Engine) -> Any:
        return engine.stats()

    config, stats = SERVING[profile], served(body, profile=profile, memory=SERVING[profile].memory)
    assert set(stats.parts) == set(config.parts) - {"cache", "pinning"}  # no agent has one; nothing to pin
    assert (stats.collector is None) == (not config.memory)
    assert (stats.adaptation is None) == (not config.adaptation)
    assert (stats.monitoring is None) == (not config.monitoring)


def test_the_monitor_sees_both_ways_to_an_agent() -> None:
    async def body(engine: Engine) -> None:
        for number in range(300):
            await engine.infer("line", X + number)
            engine.infer_now("line", X)
        metrics = engine.monitor.look()
        assert metrics.agents["line"].total.answered == 600
        assert metrics.agents["line"].total.direct == 300
        families = text_string_to_metric_families(exposition(engine.monitor).decode())
        counts = {
            (sample.name, sample.labels.get("outcome")): sample.value
            for family in families
            for sample in family.samples
            if sample.labels.get("agent") == "line"
        }
        assert counts["grandopt_requests_total", "answered"] >= 300
        await engine.replace("line", line(3.0))
        for _ in range(10):
            await engine.infer("line", X)
        assert engine.monitor.look().agents["line"].total.answered >= 10
        await engine.unload("line")
        assert engine.monitor.look().agents == {}

    served(body)


def test_the_monitor_looks_by_itself() -> None:
    async def body(engine: Engine) -> None:
        until = time.monotonic() + 10
        while engine.stats().monitoring.looks < 2:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)

    served(body, monitor_every_s=0.02)


def test_a_monitor_that_was_given_outlives_the_engine() -> None:
    monitor = Monitor()

    async def body(engine: Engine) -> None:
        assert engine.monitor is monitor
        await engine.infer("line", X)
        assert monitor.look().agents["line"].total.answered == 1

    served(body, Engine(monitor=monitor))
    assert monitor.look().agents == {}
    monitor.close()
    with pytest.raises(ConfigError, match="monitoring is off"):
        asyncio.run(Engine(monitor=monitor).initialize("basic"))


def test_recommendations_say_why_there_are_none() -> None:
    async def body(engine: Engine) -> Any:
        if engine.monitor is not None:
            engine.monitor.look()
        return engine.get_optimization_recommendations()

    assert "monitoring is off" in served(body, monitoring=False).silent[0].text
    seen = served(body)
    assert seen.advice == ()
    assert [silence.agent for silence in seen.silent] != []
    with pytest.raises(EngineClosed):
        Engine().get_optimization_recommendations()


def test_a_tuner_stops_with_its_agent() -> None:
    async def body(engine: Engine) -> None:
        for _ in range(50):
            await engine.infer("line", X)
        assert engine.stats().adaptation.tried_s >= 0
        await engine.unload("line")
        assert "adaptation" not in engine.stats().parts

    served(body)


def test_workers_are_pinned_to_named_cpus_and_to_none_that_are_not_there() -> None:
    async def body(engine: Engine) -> Any:
        cpu = min(os.sched_getaffinity(0))
        engine.add("pinned", line(), workers="threads", concurrency=1, cpus=(cpu,))
        np.testing.assert_array_equal(await engine.infer("pinned", X), 2 * X)
        with pytest.raises(ConfigError, match="100000"):
            engine.add("nowhere", line(), workers="threads", cpus=(100_000,))
        assert engine.agents == ("line", "pinned")

    served(body)
