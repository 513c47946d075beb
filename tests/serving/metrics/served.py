"""An engine that has answered requests, and what its server would say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.stats import AgentStats
from tests.runtime.engine.agents import line

ZERO = {"count": 0, "ns": 0}


class Plane:
    """Says what a data plane says of an engine's agents."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ready = True

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "grandopt", "version": "1.2.3", "extensions": []}

    def statistics(self, model: str = "", version: str = "") -> dict[str, Any]:
        return {"model_stats": [self._model(name) for name in self.engine.agents]}

    def failures(self) -> dict[str, dict[str, int]]:
        agents = self.engine.stats().agents
        return {name: {"BACKEND": _failed(stats), "OTHER": 3} for name, stats in agents.items()}

    def index(self, ready: bool = False) -> list[dict[str, Any]]:
        return [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in self.engine.agents]

    def _model(self, name: str) -> dict[str, Any]:
        stats = self.engine.stats().agents[name]
        batches = stats.batches
        answered = stats.direct.answered + (0 if batches is None else batches.answered)
        busy = 0 if batches is None else batches.busy_ns
        return {
            "name": name,
            "version": "1",
            "inference_count": answered,
            "execution_count": stats.direct.answered + (0 if batches is None else batches.batches),
            "inference_stats": {
                "success": {"count": answered, "ns": 5000 * answered},
                "fail": {"count": _failed(stats) + 3, "ns": 0},
                "queue": {"count": answered, "ns": 2000 * answered},
                "compute_input": ZERO,
                "compute_infer": {"count": answered, "ns": busy},
                "compute_output": ZERO,
                "cache_hit": ZERO,
                "cache_miss": ZERO,
            },
        }


def _failed(stats: AgentStats) -> int:
    return stats.direct.failed + (0 if stats.batches is None else stats.batches.failed)


def run(body: Callable[[Plane], Awaitable[Any]], **changes: Any) -> Any:
    """`body` beside an engine with the agents "gate" and "broken", which answered 100 and failed 2."""

    async def serve() -> Any:
        engine = Engine()
        await engine.initialize("standard", **changes)
        async with engine:
            await _ask(engine)
            return await body(Plane(engine))

    return asyncio.run(serve())


def _fails(_: Any) -> Any:
    raise ValueError("broken on purpose")


async def _ask(engine: Engine) -> None:
    engine.add("gate", line())
    broken = line()
    engine.add("broken", broken)
    broken._function = _fails
    for number in range(100):
        await engine.infer("gate", np.full(4, number, np.float32))
    for _ in range(2):
        try:
            await engine.infer("broken", np.zeros(4, np.float32))
        except GrandoptError:
            continue
