"""A model that is served while it is optimized."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grandopt.api.optimizing.request import Answer
from grandopt.runtime.engine.stats import AgentStats
from grandopt.runtime.scheduling.request import Priority

if TYPE_CHECKING:
    from grandopt.runtime.engine.engine import Engine

Status = Literal["optimizing", "taken over", "original kept"]


@dataclass(frozen=True)
class ModelStats:
    """Which form of a model answers now, and why.

    `status` is "optimizing" (the original answers meanwhile), "taken over" (the artifact at `path` answers;
    it was `speedup` times as fast, with a 95 % interval) or "original kept", with the reason. `agent` is what
    was served; None when it is served no longer.
    """

    name: str
    status: Status
    reason: str | None
    path: Path | None
    speedup: tuple[float, float, float] | None
    agent: AgentStats | None


class ServedModel:
    """A model in an engine, called like the policy that it is.

    Thread safety: a call and `get_stats` from any thread; `infer` and `optimized` in the engine's event loop.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self._engine = engine
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None

    def __call__(self, *observation: Any) -> Any:
        """As `engine.infer_now`."""
        return self._engine.infer_now(self.name, *observation)

    async def infer(
        self,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Any:
        """As `engine.infer`."""
        return await self._engine.infer(self.name, *observation, priority=priority, deadline_s=deadline_s)

    async def optimized(self) -> ModelStats:
        """Wait for the end of the optimization, whatever it is; the figures then."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()  # raises what is a bug of ours
        return self.get_stats()

    def get_stats(self) -> ModelStats:
        """Which form answers now, why, and what was served."""
        answer = self._answer
        agent = self._engine.stats().agents.get(self.name)
        if answer is None:
            return ModelStats(self.name, "optimizing", None, None, None, agent)
        status: Status = "taken over" if answer.verdict == "optimized" else "original kept"
        path = None if answer.path is None else Path(answer.path)
        return ModelStats(self.name, status, answer.reason, path, answer.speedup, agent)

    def why_original(self) -> str | None:
        """Why the original still answers; None where something else does."""
        answer = self._answer
        if answer is None:
            return "it is being optimized"
        return None if answer.verdict == "optimized" else answer.reason

    def started(self, task: asyncio.Task[None]) -> None:
        """The engine's: what optimizes it."""
        self._task = task

    def ended(self, answer: Answer) -> None:
        """The engine's: how that ended."""
        self._answer = answer

    async def cancel(self, reason: str) -> None:
        """The engine's: end the optimization, if it is still under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._answer is None:
            self._answer = Answer("failed", reason)
