"""An agent behind replicas, as its callers in this process have it.

A call through Ray's handles takes milliseconds of two processes, however little it carries. So callers of one
process share calls: what waits while one is under way is the next one's batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import numpy as np

from grandopt.distributed.ray.calls import Elsewhere, RayCalls
from grandopt.distributed.ray.cluster import handle_of, replicas_of
from grandopt.distributed.ray.failures import translated
from grandopt.distributed.ray.replica import Facts
from grandopt.distributed.ray.versions import versions
from grandopt.errors import ConfigError
from grandopt.runtime.engine.stacking import single, stacked
from grandopt.runtime.executors.observation import as_arrays, as_given
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost, fitted
from grandopt.runtime.scheduling.call import deadline_of
from grandopt.runtime.scheduling.pipelines.stage import Served
from grandopt.runtime.scheduling.request import Answer, Priority, priority_of
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings
from grandopt.signature import FITS, Array, Signature

SIZES, ROUNDS = (1, 64, 512), 3
"""Rows of the calls by which it is measured what one costs, and how many of each: the fastest counts."""
LARGEST_BYTES = 4_000_000
"""Of the inputs of one call."""
HANDLING_NS = 6_000.0
"""What an observation costs in this process beside its way to a replica: its caller sleeps and is woken."""
AMORTIZED = 4
"""A call has at most so many times the rows that take as long as what is fixed of it: while it is under way,
this process hands out the answers of the one before."""
_NORMAL = Priority.NORMAL
QUEUE_ROWS, QUEUE_BYTES = 65_536, 256_000_000
LOOK_S = 2.0
"""How often it is looked how many replicas there are."""


class RayAgent:
    """`await agent.infer(observation)` from any number of coroutines of one event loop, which owns it.

    Deadlines, priorities and refusals are those of an engine. An error of one observation is its caller's
    alone; when a replica ends, the callers whose observations were under way to it get WorkerLost. Make one
    with `client`, or with `RayAgent.of` from a handle, and close it.
    """

    def __init__(self, name: str, facts: Facts, calls: RayCalls, cost: BatchCost) -> None:
        self.name = name
        self.signature = Signature.from_json(facts.signature)
        row_bytes = self.signature.row_bytes
        even = max(1, int(cost.fixed_ns / (cost.per_observation_ns + HANDLING_NS)))
        most = max(1, LARGEST_BYTES // row_bytes)
        calls.full = min(even, most)
        settings = BatchSettings(
            limit=min(AMORTIZED * even, most, QUEUE_ROWS), queue_rows=QUEUE_ROWS, queue_bytes=QUEUE_BYTES
        )
        self._calls = calls
        self._batcher = Batcher(Elsewhere(self.signature), calls, settings, cost)
        self._submit = self._batcher.submit
        inputs, outputs = self.signature.inputs, self.signature.outputs
        self._shape = inputs[0].shape if len(inputs) == 1 else None
        self._dtype = np.dtype(inputs[0].dtype)
        self._single = len(outputs) == 1
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    async def of(cls, handle: Any, name: str, *, calls: int = 1) -> Self:
        """The agent of that name behind a deployment handle; at most so many `calls` are under way at once.

        Raises UnknownAgentError, and ConfigError where the replicas have other versions than this process.
        """
        try:
            facts: Facts = await handle.facts.remote(name)
        except Exception as error:
            raise translated(error, name) from error
        versions().check(facts.versions, f"the replica of {name}")
        # Bytes go straight to the replica, which takes half the time of a way through Ray's object store.
        ask = handle.options(method_name="infer_frame", _by_reference=False).remote

        async def send(rows: int, data: bytes) -> bytes:
            answer: bytes = await ask(name, rows, data)
            return answer

        signature = Signature.from_json(facts.signature)
        made = RayCalls(name, signature, send, calls)
        try:
            cost = await _measured(made, signature)
        except Exception as error:
            raise translated(error, name) from error
        return cls(name, facts, made, cost)

    async def infer(
        self,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Any:
        """The answer to one observation, or to a batch [n, *shape], which one build answers as a whole.

        Raises as `Engine.infer`: SignatureError and ConfigError for what cannot be asked, Overloaded and
        DeadlineExceeded for what cannot be answered now, WorkerLost, AgentFailed, EngineClosed.
        """
        if len(observation) == 1 and deadline_s is None and priority is _NORMAL:
            value = observation[0]
            # What fits as it is, as most does: all else that is done below takes longer than a small agent.
            if (
                type(value) is np.ndarray
                and value.shape == self._shape
                and value.dtype is self._dtype
                and value.flags.num & FITS == FITS
            ):
                answer = await self._submit(observation)
                return answer[0] if self._single else answer
        arrays, batched, tensors = as_arrays(self.signature, observation)
        rank, deadline = priority_of(priority), deadline_of(deadline_s, time.perf_counter_ns())
        if batched:
            rows = await self._batcher.infer_rows(tuple(arrays), rank, deadline)
            return as_given(rows, True, tensors)
        row = tuple(array[0, ...] for array in arrays)
        answer = await self._batcher.submit(row, rank, deadline)
        return as_given(tuple(output[None] for output in answer), False, tensors)

    async def infer_many(self, observations: Sequence[Any], deadline_s: float | None = None) -> Any:
        """The answers to a list of observations, one array [n, *shape] per output; one build gives all."""
        arrays, tensors = stacked(self.signature, observations)
        deadline = deadline_of(deadline_s, time.perf_counter_ns())
        rows = await self._batcher.infer_rows(tuple(arrays), Priority.NORMAL, deadline)
        return as_given(rows, True, tensors)

    def served(self) -> Served:
        """The agent as a pipeline calls it."""

        async def ask(inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> Answer:
            row = single(self.signature, inputs)
            return await self._batcher.submit(row, priority, deadline_ns)

        return Served(ask, self.signature, self._batcher.submit)

    def stats(self) -> BatcherStats:
        """What was done until now; `rows` and `sizes` are of calls."""
        return self._batcher.stats()

    @property
    def builds(self) -> dict[str, int]:
        """How many observations each build has answered, by its digest."""
        return {digest.hex(): rows for digest, rows in self._calls.builds.items()}

    def follow(self, application: str) -> None:
        """Have as many calls under way at most as the application has replicas, from now on."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(application))

    async def close(self, *, drain: bool = True) -> None:
        """Answer what waits (with `drain=False` refuse it), and take nothing more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await self._batcher.close(drain=drain)

    async def _look(self, application: str) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            replicas = await asyncio.to_thread(replicas_of, application)
            self._calls.resize(replicas or 1)


@asynccontextmanager
async def client(application: str = "grandopt", agent: str | None = None) -> AsyncIterator[RayAgent]:
    """An agent of an application that runs on the cluster which this process is connected to.

    `agent` may be left out where it has only one. Raises ConfigError where the application does not run, and
    what `RayAgent.of` raises.
    """
    handle = await asyncio.to_thread(handle_of, application)
    name = agent
    if name is None:
        try:
            names = list((await handle.state.remote())["agents"])
        except Exception as error:
            raise translated(error, application) from error
        if len(names) != 1:
            raise ConfigError(f"{application} serves {', '.join(names)}: name one of them")
        name = names[0]
    replicas = await asyncio.to_thread(replicas_of, application)
    made = await RayAgent.of(handle, name, calls=max(1, replicas))
    made.follow(application)
    try:
        yield made
    finally:
        await made.close()


async def _measured(calls: RayCalls, signature: Signature) -> BatchCost:
    """What a call costs, by rows."""
    times: dict[int, float] = {}
    for size in SIZES:
        if times and size * signature.row_bytes > LARGEST_BYTES:
            break
        rows = [np.zeros((size, *spec.shape), spec.dtype) for spec in signature.inputs]
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter_ns()
            await calls.answers(rows)
            best = min(best, float(time.perf_counter_ns() - began))
        times[size] = best
    calls.builds.clear()
    return fitted(times)
