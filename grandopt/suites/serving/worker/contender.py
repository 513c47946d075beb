"""The contract of a way of serving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.expected import Expected, originals


class Contender(ABC):
    """One way of serving an agent, in a process of its own; it belongs to that process's one event loop."""

    settings: Sequence[str] = ("",)
    """What may be tried; the fastest is measured."""

    def __init__(self, agent: ServedAgent) -> None:
        self.agent = agent

    def expected(self) -> Expected:
        """What it must answer."""
        return originals(self.agent)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What all settings need, for as long as the block lasts."""
        yield

    @abstractmethod
    def serving(self, setting: str) -> AbstractAsyncContextManager[Infer]:
        """The agent as a coroutine function of one observation, for as long as the block lasts."""

    def notes(self) -> Sequence[str]:
        """What else has to be known of the figures, asked for after the measurement."""
        return ()
