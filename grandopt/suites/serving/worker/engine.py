"""The engine itself, with the aggressive profile and no cache: every request is computed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from grandopt.runtime.engine.engine import Engine
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.expected import Expected, artifacts

PROFILE = "aggressive"


class EngineContender(Contender):
    """`await engine.infer(name, observation)`."""

    def __init__(self, agent: ServedAgent) -> None:
        super().__init__(agent)
        self._notes: Sequence[str] = ()

    def expected(self) -> Expected:
        return artifacts(self.agent)

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        engine = Engine()
        await engine.initialize(PROFILE)
        async with engine:
            name = engine.load(self.agent.artifact, trust=True)
            yield partial(engine.infer, name)
            stats = engine.stats()
            self._notes = (f"parts that ran: {', '.join(stats.parts)}",)
            batches = stats.agents[name].batches
            if batches is not None:
                self._notes += (f"computed by: {batches.workers}",)

    def notes(self) -> Sequence[str]:
        return self._notes
