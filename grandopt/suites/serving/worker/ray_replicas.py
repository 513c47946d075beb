"""Our replicas on Ray Serve, asked by a client whose callers share calls, or through a handle alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.distributed.ray.agent import RayAgent
from grandopt.distributed.ray.applications import application
from grandopt.signature import Array
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.expected import Expected, artifacts
from grandopt.suites.serving.worker.ray_serve import QUIET


class RayReplicas(Contender):
    """So many replicas with a CPU each; the callers are in the driver's event loop."""

    def __init__(self, agent: ServedAgent, *, shared: bool, replicas: int) -> None:
        super().__init__(agent)
        self._shared, self._replicas = shared, replicas
        self._handle: Any = None
        self._notes: Sequence[str] = ()

    def expected(self) -> Expected:
        return artifacts(self.agent)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        os.environ.update(QUIET)
        import ray
        from ray import serve

        ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            self._handle = serve.run(application(self.agent.artifact, replicas=self._replicas))
            yield
        finally:
            await serve.shutdown_async()
            ray.shutdown()

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        name = read(self.agent.artifact).manifest.name
        if not self._shared:
            ask = self._handle.infer.remote

            async def infer(observation: Array) -> Any:
                return await ask(name, observation)

            yield infer
            return
        agent = await RayAgent.of(self._handle, name, calls=self._replicas)
        try:
            yield agent.infer
            stats = agent.stats()
            self._notes = (f"{stats.answered} observations in {stats.batches} calls",)
        finally:
            await agent.close()

    def notes(self) -> Sequence[str]:
        return self._notes
