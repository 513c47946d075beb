"""A batcher of forty lines: what anybody could write in an hour, and the floor of what the engine must reach.

All requests that one turn of the event loop brings are computed together, within the loop. It knows no
deadline, no priority and no bound; one bad observation fails its whole batch; other tasks wait meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grandopt.signature import Array
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.networks import Compute, batches

MOST = 256


class SimpleBatcher:
    """Belongs to one event loop."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Array, asyncio.Future[Any]]] = []

    def infer(self, observation: Array) -> asyncio.Future[Any]:
        """Awaits the answer to one observation."""
        if not self._waiting:
            self._loop.call_soon(self._answer)
        future = self._loop.create_future()
        self._waiting.append((observation, future))
        return future

    def _answer(self) -> None:
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._waiting:
            self._loop.call_soon(self._answer)
        try:
            answers = self._compute([observation for observation, _ in batch])
        except (RuntimeError, ValueError) as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


class Simple(Contender):
    """The forty lines, over eager modules or TorchScript."""

    def __init__(self, agent: ServedAgent, kind: str) -> None:
        super().__init__(agent)
        self._compute = batches(agent, kind)

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        yield SimpleBatcher(self._compute).infer
