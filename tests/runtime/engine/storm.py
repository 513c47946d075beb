"""Requests while everything goes wrong at once: callers give up, agents fail and are replaced, workers die.

Each answer says which request it is of and which agent gave it, so that it can be held against the reference.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import weakref
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from grandopt.errors import AgentFailed, DeadlineExceeded, Overloaded, SignatureError, WorkerLost
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.scheduling.workers.processes import ProcessWorkers
from grandopt.signature import Array
from tests.worker_agents import CRASH, FAULT, Marked

CALLERS = 64
SHARES = {
    "plain": 80, "cancelled": 5, "timed out": 3, "deadline": 4, "fault": 2, "nan": 2, "batch": 2, "shape": 1,
    "faulty batch": 1,
}  # fmt: skip
"""Kinds of requests, in percent."""


@dataclass
class Storm:
    """`count` requests of one kind of workers, all of them drawn from `seed`."""

    kind: str
    count: int
    seed: int
    pause_s: float = 0.02  # between two replacements, which measure the agent each time
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    kills: int = 0
    weights: list[float] = field(default_factory=lambda: [1.0])
    made: list[weakref.ref[Marked]] = field(default_factory=list)

    async def run(self) -> None:
        """All requests; raises AssertionError for an answer that is not the request's own."""
        self._draw = random.Random(self.seed)
        self._numbers = iter(range(self.count))
        engine = Engine()
        await engine.initialize("basic")
        agent = self._agent(1.0)
        size = None if self.kind == "inline" else 2
        engine.add(
            "marked", agent, workers=self.kind, concurrency=size, batching=True,
            batch_limit=32, queue_items=CALLERS + 16,
        )  # fmt: skip
        del agent
        self._workers = engine._agents["marked"].batcher.workers
        chaos = asyncio.create_task(self._chaos(engine))
        try:
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(self._caller(engine))
        finally:
            chaos.cancel()
            await asyncio.gather(chaos, return_exceptions=True)
            await engine.shutdown()
        if isinstance(self._workers, ProcessWorkers):
            assert self._workers.lent == 0
            assert self._workers.pids == []
        del self._workers  # which know the last agent

    def _agent(self, weight: float) -> Marked:
        agent = Marked(weight)
        self.made.append(weakref.ref(agent))
        return agent

    async def _chaos(self, engine: Engine) -> None:
        """Replace the agent again and again, and kill a worker between."""
        while True:
            if isinstance(self._workers, ProcessWorkers):
                await asyncio.sleep(10 * self.pause_s)
                os.kill(self._draw.choice(self._workers.pids), signal.SIGKILL)
                self.kills += 1
            await asyncio.sleep(self.pause_s)
            weight = self.weights[-1] + 1.0
            self.weights.append(weight)
            await engine.replace("marked", self._agent(weight))

    async def _caller(self, engine: Engine) -> None:
        kinds, shares = list(SHARES), list(SHARES.values())
        for number in self._numbers:
            (kind,) = self._draw.choices(kinds, shares)
            since = len(self.weights) - 1
            outcome = await self._outcome(engine, kind, number)
            if not isinstance(outcome, str):
                self._check(kind, number, outcome, since)
                outcome = "answered"
            self.outcomes[kind, outcome] += 1

    async def _outcome(self, engine: Engine, kind: str, number: int) -> Any:
        state, priority = self._state(kind, number), self._draw.randrange(4)
        ask = partial(engine.infer, "marked", priority=priority)
        try:
            match kind:
                case "cancelled":
                    return await self._given_up(ask(state, np.int64(number)))
                case "timed out":
                    return await asyncio.wait_for(ask(state, np.int64(number)), self._draw.random() * 0.002)
                case "deadline":
                    within = self._draw.random() * 0.005
                    return await ask(state, np.int64(number), deadline_s=within)
                case "shape":
                    return await ask(state[:2], np.int64(number))
                case "batch" | "faulty batch":
                    states = np.stack([state] * 3)
                    states[:2, 0] = number % 1000
                    return await ask(states, np.arange(number, number + 3))
                case _:
                    return await ask(state, np.int64(number))
        except AgentFailed as error:
            return "failed" if isinstance(error.__cause__, ValueError) else repr(error.__cause__)
        except SignatureError:
            return "refused"
        except (WorkerLost, DeadlineExceeded, Overloaded, TimeoutError) as error:
            return type(error).__name__

    async def _given_up(self, request: Any) -> Any:
        task = asyncio.create_task(request)
        for _ in range(self._draw.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    def _state(self, kind: str, number: int) -> Array:
        state = np.array([number % 1000, number % 7, 1.0], np.float32)
        if kind in ("fault", "faulty batch"):
            # Of processes, some end with it.
            crash = self.kind == "processes" and self._draw.random() < 0.01
            state[:2] = CRASH if crash else FAULT, 0
        if kind == "nan":
            state[1] = np.nan
        return state

    def _check(self, kind: str, number: int, outcome: Any, since: int) -> None:
        """The answer is this request's, by one agent that was there while it was."""
        assert kind not in ("fault", "faulty batch", "shape"), kind
        sums, numbers = outcome
        if kind == "batch":
            assert numbers.tolist() == list(range(number, number + 3))
            assert (sums == sums[0]).all()
            sums = sums[0]
        else:
            assert int(numbers) == number
        if kind == "nan":
            assert np.isnan(sums).all()
            return
        total = number % 1000 + number % 7 + 1
        weights = [
            weight for weight in self.weights[since - 1 if since else 0 :] if weight * total == sums[0]
        ]
        assert weights, (number, sums, self.weights[since:])
        assert sums[1] == -sums[0]
