"""The engine: agents by name, and what one asks of them."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future, get_running_loop
from collections.abc import AsyncIterable, Hashable, Iterable, Mapping
from threading import get_ident
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self

import numpy as np

from grandopt.config.names import DEFAULT_PROFILE
from grandopt.config.serving_profiles import serving_config
from grandopt.errors import EngineClosed, ServingError
from grandopt.runtime.engine.agents import ServedAgents
from grandopt.runtime.engine.flows import Flows
from grandopt.runtime.engine.parts import Parts
from grandopt.runtime.engine.stacking import single
from grandopt.runtime.engine.stats import EngineStats
from grandopt.runtime.monitoring.monitor import Monitor
from grandopt.runtime.monitoring.recommendations.advice import Recommendations
from grandopt.runtime.scheduling.call import deadline_of
from grandopt.runtime.scheduling.pipelines.graph import GraphLike
from grandopt.runtime.scheduling.pipelines.pipeline import Pipeline
from grandopt.runtime.scheduling.pipelines.stage import Source
from grandopt.runtime.scheduling.recurrent.sessions import Session
from grandopt.runtime.scheduling.request import Answer, Priority, priority_of
from grandopt.runtime.scheduling.streams.stream import Stream
from grandopt.signature import FITS

_ndarray = np.ndarray
_normal = Priority.NORMAL  # an enumeration looks its members up each time


class Engine(ServedAgents):
    """Serves agents in the event loop that initialized it.

    ::

        async with Engine() as engine:                  # or: await engine.initialize("maximum")
            engine.load("artifacts/gate")
            action = await engine.infer("gate", observation)

    Thread safety: `infer_now` and `stats` may be called from any thread; everything else belongs to the event
    loop, and raises ServingError elsewhere. Ownership: the engine closes what it has loaded; executors that
    were added stay their owner's. Answers belong to the caller; those from a cache are read-only. Inputs must
    not be changed before the answer is there.

    `monitor` is what looks where monitoring is on, with its own rules, deliveries and archive; it stays its
    owner's. Without one the engine has its own.
    """

    def __init__(self, *, monitor: Monitor | None = None) -> None:
        super().__init__()
        self._profile = DEFAULT_PROFILE
        self._began = 0.0
        self._given_monitor = monitor
        self._ended: asyncio.Event | None = None
        self._flows = Flows(self._agent)

    # ---- life ---------------------------------------------------------------------------------------------

    async def initialize(self, profile: str = DEFAULT_PROFILE, **changes: Any) -> None:
        """Switch on the parts of a profile, with the fields of ServingConfig that are given in `changes`.

        Raises ConfigError for an unknown profile, field or value, EngineClosed after a shutdown, and
        ServingError when that was done before.
        """
        config = serving_config(profile, changes)
        if self._closed:
            raise EngineClosed("the engine was shut down; make another one")
        if self._loop is not None:
            raise ServingError(f"the engine is initialized already, with profile {self._profile!r}")
        self._parts = Parts(config, self._is_idle, self._ended_requests, self._given_monitor)
        self._loop, self._thread = get_running_loop(), get_ident()
        self._config, self._profile = config, profile  # type: ignore[assignment]
        self._began = time.monotonic()

    async def shutdown(self, *, drain: bool = True) -> None:
        """Refuse new requests, answer those that wait (with `drain=False` refuse them, too), give all back.

        Twice is allowed: the second call waits for the end of the first.
        """
        if self._closed:
            if self._ended is not None:
                await self._ended.wait()
            return
        if self._loop is not None:
            self._require_loop()
        self._closed = True
        self._ended = asyncio.Event()
        agents, self._agents = list(self._agents.values()), {}
        try:
            if self._parts is not None:
                self._parts.end()
        finally:
            try:
                await asyncio.gather(*[agent.close(drain=drain) for agent in agents])
            finally:
                self._ended.set()

    async def __aenter__(self) -> Self:
        if self._loop is None:
            await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown(drain=kind is None)

    # ---- requests -----------------------------------------------------------------------------------------

    async def infer(
        self,
        name: str,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Any:
        """The agent's answer to one observation, in any form that `Executor.__call__` takes, or to a batch.

        `priority` is low, normal, high or critical. With `deadline_s`, seconds from now, the answer comes in
        time or not at all. Raises UnknownAgentError, SignatureError and ConfigError for what cannot be asked,
        Overloaded and DeadlineExceeded (with `retry_after_s`) for what cannot be answered now, AgentFailed,
        WorkerLost and EngineClosed.
        """
        try:
            agent = self._agents[name]
        except (KeyError, TypeError):  # a list, say, which is no key
            self._refuse(name)
        if get_ident() != self._thread:
            self._refuse(name)
        rank = 1 if priority is _normal else priority_of(priority)
        deadline = 0 if deadline_s is None else deadline_of(deadline_s, perf_counter_ns())
        batcher = agent.lone
        fits = False
        if len(observation) == 1:
            value = observation[0]
            fits = type(value) is _ndarray and value.shape == agent.shape
            if fits and batcher is not None:
                # The agent itself checks the rest, in less time than it takes to ask here.
                at_once = batcher.at_once(observation, deadline)
                if at_once is None:
                    at_once = await batcher.next_turn(observation, deadline)
                if at_once is not None:
                    return at_once[0] if agent.single else at_once
        if get_running_loop() is not self._loop:  # asking for that takes as long as a small agent
            self._refuse(name)
        if not (fits and value.dtype is agent.dtype and value.flags.num & FITS == FITS):
            return await agent.infer_any(observation, rank, deadline)
        if batcher is None:
            outputs = await agent.ask(observation, rank, deadline)
        else:  # what `batcher.infer` does, without a coroutine more
            outputs = await batcher.submit(observation, rank, deadline)
            batcher.resumed()
        return outputs[0] if agent.single else outputs

    def submit(
        self,
        name: str,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Answer | Future[Answer]:
        """As `infer` for one observation, for callers without a coroutine, such as protocols and callbacks.

        The outputs as a tuple where they are there at once, as those of a small agent are, else a future of
        them. Raises as `infer`, here or from the future.
        """
        agent = self._agent(name)
        rank = 1 if priority is _normal else priority_of(priority)
        deadline = 0 if deadline_s is None else deadline_of(deadline_s, perf_counter_ns())
        return agent.submit(single(agent.signature, observation), rank, deadline)

    def infer_now(self, name: str, *observation: Any) -> Any:
        """The same answer, computed at once on the calling thread, whichever that is."""
        try:
            agent = self._agents[name]
        except (KeyError, TypeError):
            self._refuse(name, anywhere=True)
        return agent.now(*observation)

    async def batch_inference(
        self,
        name: str,
        *batch: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Any:
        """The agent's answers to many observations: one array [n, *shape] per output.

        `batch` is one array [n, *shape] per input, a mapping of them by input name, or a list of n
        observations. It is computed in parts, between which single requests are answered, and is not looked
        up in a cache. Raises as `infer`; when a part fails, the whole batch does.
        """
        agent = self._agent(name)
        deadline = deadline_of(deadline_s, perf_counter_ns())
        return await agent.infer_many(batch, priority_of(priority), deadline)

    def stream(
        self, name: str, source: Iterable[Any] | AsyncIterable[Any], **options: Any
    ) -> Stream[Any, Any]:
        """`async for answer in engine.stream(name, source)`: the answers to its observations, in their order.

        An observation of several inputs is a tuple or a mapping. `options` are the `window` of observations
        under way (64), `when_slow` ("block", "drop_oldest", "drop_newest"), `on_error` ("raise", "yield"),
        `priority`, `deadline_s` of each and `in_thread` for a source that blocks: see Stream. Raises
        UnknownAgentError and ConfigError at once.
        """
        return self._flows.stream(name, source, options)

    def session(self, name: str, key: Hashable = None) -> Session:
        """One stream of calls of a recurrent agent, whose state it keeps: `await session.infer(observation)`.

        The open session of `key`, or a new one; see Sessions for their limit and how they end. A replacement
        of the agent goes on with the states as they are. Raises SignatureError for an agent without a state,
        Overloaded where too many are open.
        """
        return self._flows.session(name, key)

    def create_model_pipeline(
        self, name: str, graph: GraphLike, *, outputs: Mapping[str, Source] | None = None
    ) -> Pipeline:
        """A graph of served agents and functions, to be awaited like one agent: `await pipeline(request)`.

        `graph` holds stages by name (see Stage), or in a chain; `outputs` names what the pipeline gives, by
        default the outputs of the last stage. Raises ConfigError for a graph that cannot be run, naming both
        sides, and UnknownAgentError.
        """
        return self._flows.pipeline(name, graph, outputs)

    def remove_model_pipeline(self, name: str) -> None:
        """Forget a pipeline, whose name is free then; what is under way in it goes on. Raises ConfigError."""
        self._flows.remove_pipeline(name)

    # ---- figures ------------------------------------------------------------------------------------------

    def stats(self) -> EngineStats:
        """What was done since the beginning; names only parts that run."""
        agents = {name: agent.stats() for name, agent in list(self._agents.items())}
        parts = self._parts
        return EngineStats(
            profile=self._profile,
            parts=() if parts is None else parts.running(agents),
            seconds=time.monotonic() - self._began if self._began else 0.0,
            agents=agents,
            collector=None if parts is None else parts.collector(),
            adaptation=None if parts is None else parts.adaptation(),
            monitoring=None if parts is None else parts.monitoring(),
            pipelines=self._flows.stats(),
        )

    def get_comprehensive_stats(self) -> EngineStats:
        """The same as `stats`."""
        return self.stats()

    def get_optimization_recommendations(self) -> Recommendations:
        """What to change, each with its evidence and expected effect, and about what nothing can be said.

        They rest on the last look of the monitor; without monitoring there are none, which they say.
        """
        if self._parts is None:
            raise EngineClosed("the engine is not initialized: `await engine.initialize()` first")
        return self._parts.recommendations()

    @property
    def monitor(self) -> Monitor | None:
        """What watches the agents, such as for `grandopt.runtime.monitoring.exposition`; None where nobody
        does."""
        return None if self._parts is None else self._parts.monitor
