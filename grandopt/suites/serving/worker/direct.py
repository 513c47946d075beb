"""The original called without batches: by the caller itself, or in asyncio's own pool of threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grandopt.signature import Array
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.networks import one_by_one


class Inline(Contender):
    """Within the caller's own coroutine: one call after the other, whatever the number of callers."""

    def __init__(self, agent: ServedAgent, kind: str) -> None:
        super().__init__(agent)
        self._compute = one_by_one(agent, kind)

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        compute = self._compute

        async def infer(observation: Array) -> Any:
            return compute(observation)

        yield infer


class Threads(Contender):
    """In the loop's default executor, a call of it for each observation."""

    def __init__(self, agent: ServedAgent) -> None:
        super().__init__(agent)
        self._compute = one_by_one(agent, names.EAGER)

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        loop, compute = asyncio.get_running_loop(), self._compute

        async def infer(observation: Array) -> Any:
            return await loop.run_in_executor(None, compute, observation)

        yield infer
