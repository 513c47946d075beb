"""One agent of an engine: what answers at present, and the ways to it."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from grandopt.config.cache import CacheConfig
from grandopt.config.serving import ServingConfig
from grandopt.errors import EngineClosed, SignatureError
from grandopt.runtime.engine.cached_agent import Ask, CachedAgent
from grandopt.runtime.engine.direct import DirectCalls
from grandopt.runtime.engine.fit import check_same
from grandopt.runtime.engine.splitting import in_parts
from grandopt.runtime.engine.stacking import stacked
from grandopt.runtime.engine.stats import AgentStats
from grandopt.runtime.engine.version import Version
from grandopt.runtime.engine.working import Measured, measured, settings_of, workers_for
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.observation import as_arrays, as_given
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import measure_cost
from grandopt.runtime.scheduling.recurrent.sessions import Sessions
from grandopt.runtime.scheduling.request import Answer
from grandopt.runtime.scheduling.rows import Rows, one_by_one
from grandopt.runtime.scheduling.taps import Taps
from grandopt.runtime.scheduling.workers.base import computed
from grandopt.runtime.scheduling.workers.choice import Choice
from grandopt.signature import FITS, Array


class ServedAgent:
    """An agent that an engine serves.

    It belongs to the engine's event loop; only `now` may be called from any thread. `dtype` and `shape` are
    those of its only input; None for an agent with several, or without declared outputs. `ask` answers one
    observation, given as arrays [*shape] of exactly the declared dtypes. `known` is what was measured of the
    version before; without it, that is measured now.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        config: ServingConfig,
        cache: CacheConfig | None = None,
        known: Measured | None = None,
    ) -> None:
        self.name = name
        self.signature = version.signature
        inputs = version.signature.inputs
        # Without declared outputs, whether there is one shows only when the answer is there.
        quick = len(inputs) == 1 and bool(version.signature.outputs)
        self.dtype = np.dtype(inputs[0].dtype) if quick else None
        self.shape = inputs[0].shape if quick else None
        self.single = len(version.signature.outputs) == 1
        self.direct = DirectCalls(name)
        """Calls on their callers' own threads."""
        self._config = config
        self._sessions: Sessions | None = None
        self._replaced = 0
        self._closed = False
        self._changing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self.batcher: Batcher | None = None
        # Before the workers, which nobody would end where it cannot be made.
        self.front = None if cache is None else CachedAgent(cache, name, version, self._ask_directly)
        self.ask: Ask = self._ask_directly
        self.choice: Choice | None = None
        if config.batching:
            self.batcher = self._batcher(version, config, known)
            self.ask = self.batcher.infer
        self.taps = None if self.batcher is None else Taps(self.batcher)
        """Shows batches, after they were answered, to whoever watches; None for an agent without batching."""
        self.closing: set[Callable[[], object]] = set()
        """What is called when the agent is closed."""
        self.changed: set[Callable[[Version], object]] = set()
        """What is called with the version that answers from then on."""
        self.original: Callable[[], str | None] = _nothing
        """Why the original still answers, where something faster is looked for or was not found."""
        if self.front is not None:
            self.front.ask = self.ask
            self.ask = self.front.infer
        self.lone = None if self.front is not None else self.batcher
        """The batcher, if nothing stands before it: asked without a coroutine of its own."""
        self.now: Callable[..., Any]
        """Computes the answer to a call on the calling thread; raises SignatureError and AgentFailed."""
        self._run: Callable[[list[Array]], tuple[Array, ...]]
        self._answer_with(version)

    @property
    def idle(self) -> bool:
        """Whether no request waits or is computed."""
        if self.batcher is None:
            return True
        workers = self.batcher.workers
        return workers.idle == workers.size and self.batcher.depth == 0

    @property
    def ended(self) -> int:
        """How many requests came to an end until now, at least; it stands still while none comes."""
        batched = 0 if self.batcher is None else self.batcher.ended
        return batched + self.direct.ended + (0 if self.front is None else self.front.cache.lookups)

    @property
    def changing(self) -> bool:
        """Whether batches of a version before may still run."""
        return bool(self._ending)

    @property
    def sessions(self) -> Sessions:
        """Streams of calls with a state each; raises SignatureError for an agent without one."""
        if self._sessions is None:
            version, config = self.version, self._config
            self._sessions = Sessions(
                self.ask,
                version.signature,
                version.contract,
                limit=config.sessions,
                idle_s=config.session_idle_s,
            )
        return self._sessions

    @property
    def answering(self) -> Executor:
        """What computes the answer to a request that comes now."""
        return self.version.executor if self.batcher is None else self.batcher.executor

    def submit(self, row: tuple[Array, ...], priority: int, deadline: int) -> Answer | Future[Answer]:
        """As `ask`, for callers without a coroutine: the answer where it is there at once, else a future."""
        lone = self.lone
        if lone is not None:
            answer = lone.at_once(row, deadline)
            return lone.submit(row, priority, deadline) if answer is None else answer
        if self.front is None:
            return self._computed(row, deadline)
        return asyncio.ensure_future(self.ask(row, priority, deadline))

    def rows_at_once(self, arrays: tuple[Array, ...], over: Callable[[], bool]) -> Rows | None:
        """The first of these observations [n, *shape], computed here and now, as far as that goes; None when
        they have to wait, or are looked for in a cache. See Batcher.
        """
        if self.lone is not None:
            return self.lone.rows_at_once(arrays, over)
        if self.front is not None:
            return None
        self._check(0)
        answers = map(self._run, map(list, zip(*[array[:, None] for array in arrays], strict=True)))
        return one_by_one(answers, over, every=1, batched=True)

    async def answer(self, observation: tuple[Any, ...], priority: int, deadline: int) -> Any:
        """The answer to an observation in any form: the quick way where it fits as it is."""
        value = observation[0] if len(observation) == 1 else None
        if (
            type(value) is np.ndarray
            and value.dtype is self.dtype
            and value.shape == self.shape
            and value.flags.num & FITS == FITS
        ):
            outputs = await self.ask(observation, priority, deadline)
            return outputs[0] if self.single else outputs
        return await self.infer_any(observation, priority, deadline)

    async def infer_any(self, observation: Sequence[Any], priority: int, deadline: int) -> Any:
        """The answer to an observation, or a batch of them, in any form that a call takes."""
        arrays, batched, tensors = as_arrays(self.signature, observation)
        if batched:
            return as_given(await self.infer_batch(tuple(arrays), priority, deadline), True, tensors)
        outputs = await self.ask(tuple(array[0, ...] for array in arrays), priority, deadline)
        # As a batch of one, which `as_given` takes apart again.
        return as_given(tuple(output[None] for output in outputs), False, tensors)

    async def infer_many(self, batch: Sequence[Any], priority: int, deadline: int) -> Any:
        """The answers to a batch, given as arrays or as a list of observations: one array per output."""
        if len(batch) == 1 and isinstance(batch[0], list):
            arrays, tensors = stacked(self.signature, batch[0])
        else:
            arrays, batched, tensors = as_arrays(self.signature, batch)
            if not batched:
                raise SignatureError(
                    f"{self.name}: expected a batch [n, *shape] or a list of observations, got one "
                    f"observation; `infer` answers it"
                )
        return as_given(await self.infer_batch(tuple(arrays), priority, deadline), True, tensors)

    async def infer_batch(self, arrays: tuple[Array, ...], priority: int, deadline: int) -> tuple[Array, ...]:
        """The outputs [n, *shape] for a batch [n, *shape], computed in parts of at most the batch limit."""
        batcher, rows = self.batcher, len(arrays[0])
        if batcher is None:
            self._check(deadline)
            outputs = self._run(list(arrays))
            self.direct.check(deadline, "during")
            return outputs
        room = batcher.settings.rows(self.signature.row_bytes)
        limit = min(batcher.settings.limit, room)
        if rows <= limit:
            return await batcher.infer_rows(arrays, priority, deadline)
        return await in_parts(batcher, arrays, self.signature.row_bytes, priority, deadline)

    async def replace(self, version: Version) -> None:
        """Answer with another version from now on; returns when the last batch of the old one has ended.

        Whatever a caller cancels, batches that run keep the old one open. Raises SignatureError for a version
        that does not fit.
        """
        check_same(self.name, self.version, version)
        task = asyncio.get_running_loop().create_task(self._change(version))
        self._ending.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def stats(self) -> AgentStats:
        """What was done until now."""
        batcher = self.batcher
        return AgentStats(
            self.name,
            self.version.origin,
            self._replaced,
            self.direct.stats(),
            None if batcher is None else batcher.stats(),
            None if batcher is None else batcher.cost,
            None if self.front is None else self.front.stats(),
            None if self._sessions is None else self._sessions.stats(),
            self.choice,
        )

    async def close(self, *, drain: bool) -> None:
        """Answer what waits, or with `drain=False` refuse it; then give back workers and cache."""
        self._closed = True
        for end in list(self.closing):
            end()
        if self._sessions is not None:
            self._sessions.close()
        try:
            if self.batcher is not None:
                await self.batcher.close(drain=drain)
            if self._ending:
                await asyncio.wait(self._ending)
        finally:
            if self.front is not None:
                self.front.close()

    def _batcher(self, version: Version, config: ServingConfig, known: Measured | None) -> Batcher:
        try:
            known = known or measured(version.executor, config)
            settings = settings_of(self.name, config, known.cost, version.signature.row_bytes)
            self.choice = known.choice
            workers = workers_for(version.executor, self.choice, config)
        except BaseException:
            if self.front is not None:
                self.front.close()
            raise
        return Batcher(version.executor, workers, settings, known.cost)

    async def _ask_directly(
        self, inputs: tuple[Array, ...], priority: int, deadline: int
    ) -> tuple[Array, ...]:
        return self._computed(inputs, deadline)

    def _computed(self, inputs: tuple[Array, ...], deadline: int) -> Answer:
        self._check(deadline)
        outputs = self._run([array[None] for array in inputs])
        self.direct.check(deadline, "during")
        return tuple(output[0] for output in outputs)

    def _check(self, deadline: int) -> None:
        if self._closed:
            raise EngineClosed(f"{self.name}: is not served any more")
        self.direct.check(deadline)

    def _answer_with(self, version: Version) -> None:
        self.version = version
        """What computes the answers at present."""
        self.now = self.direct.timed(self.front.policy if self.front else version.executor, version)
        self._run = self.direct.timed(partial(computed, version.executor), version)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever asked for the change may have gone away

    async def _change(self, version: Version) -> None:
        async with self._changing:
            if self._closed:
                raise EngineClosed(f"{self.name}: is not served any more")
            old = self.version
            if self.batcher is not None:
                cost = await asyncio.to_thread(measure_cost, version.executor)
                await self.batcher.replace(version.executor, cost)
            if self.front is not None:
                # Not before: what the old version still answers would be kept as the new one's.
                self.front.deploy(version)
            self._answer_with(version)
            self._replaced += 1
            for tell in list(self.changed):
                tell(version)
            del old  # which was kept until here, however its callers fared


def _nothing() -> None:
    return None
