"""The batcher: what waits while a worker is busy becomes its next batch.

It conserves work: a worker that is idle takes what is there at the event loop's next turn, so that nobody
waits for a timer, and requests of callers that were woken together travel together.

Where the loop's own thread computes, and suspending a caller costs more than its share of a batch would save,
requests are answered one by one (see `alone`), unless many come together or something waits already.

A request in a batch costs a future, some counting and its share of the batch. There is no task, no lock and
no timer.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Callable

from grandopt.errors import EngineClosed
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.admission import Admission
from grandopt.runtime.scheduling.alone import REQUEST_NS, Alone
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.dispatch import Dispatch
from grandopt.runtime.scheduling.request import Answer, Priority, Request
from grandopt.runtime.scheduling.rows import Rows
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings
from grandopt.runtime.scheduling.tap import TapPoint
from grandopt.runtime.scheduling.waiting import Waiting
from grandopt.runtime.scheduling.workers.base import Workers, computed
from grandopt.signature import Array

NORMAL = int(Priority.NORMAL)


class Batcher:
    """Answers requests of one agent in batches. It belongs to the event loop that it was made in.

    Inputs must fit the agent's signature (nothing here checks them), and must not be changed until the answer
    is there. Answers are views of a batch's outputs, which nothing else writes to. Requests are refused with
    Overloaded and DeadlineExceeded, when they come or while they wait; AgentFailed, WorkerLost and
    EngineClosed say what else came between.
    """

    def __init__(
        self,
        executor: Executor,
        workers: Workers,
        settings: BatchSettings,
        cost: BatchCost,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._row_bytes = executor.signature.row_bytes
        self._counts = BatchCounts()
        self._waiting = Waiting()
        self._lane = self._waiting.lane
        self._admission = Admission(self._waiting, self._row_bytes, self._counts)
        self.shown = TapPoint()
        """Where somebody may look at what is answered."""
        self._dispatch = Dispatch(
            workers,
            self._waiting,
            self._admission,
            self._counts,
            self.shown,
            settings,
            cost,
            self._open_lane,
            clock,
        )
        self._alone = Alone(executor, self._waiting, self._counts, self.shown, clock)
        # The quick ways are those of `Alone` themselves: a call in between would cost as much as one of them.
        self.at_once = self._alone.at_once
        """The answer to `infer`, computed here and now; None when the request has to wait."""
        self.next_turn = self._alone.next_turn
        """As `at_once`, after the loop's other callers had their turn; None when it has to `submit`."""
        self.resumed = self._alone.resumed
        """A caller of `submit` goes on: it may have some answers at once before it is suspended again."""
        self._closed = False
        self.settings = settings
        self.cost = cost

    # ---- what may be changed while it serves --------------------------------------------------------------

    @property
    def settings(self) -> BatchSettings:
        """What it goes by; may be set."""
        return self._dispatch.settings

    @settings.setter
    def settings(self, settings: BatchSettings) -> None:
        self._dispatch.settings = settings
        self._lane_limit = settings.rows(self._row_bytes)
        self._open_lane()

    @property
    def cost(self) -> BatchCost:
        """What a batch costs; may be set."""
        return self._dispatch.cost

    @cost.setter
    def cost(self, cost: BatchCost) -> None:
        self._dispatch.cost = cost
        self._alone.measured(cost, self.workers.kind == "inline")

    @property
    def executor(self) -> Executor:
        """What computes the answer to a request that comes now."""
        return self._alone.executor

    @property
    def workers(self) -> Workers:
        """Where batches are computed."""
        return self._dispatch.workers

    # ---- requests -----------------------------------------------------------------------------------------

    async def infer(self, inputs: tuple[Array, ...], priority: int = NORMAL, deadline_ns: int = 0) -> Answer:
        """The outputs [*shape] for one observation, given as one array [*shape] per input.

        `deadline_ns` is a time of the clock, 0 none.
        """
        answer = self.at_once(inputs, deadline_ns)
        if answer is None:
            answer = await self.next_turn(inputs, deadline_ns)
        if answer is None:
            answer = await self.submit(inputs, priority, deadline_ns)
            self.resumed()
        return answer

    async def infer_rows(
        self, inputs: tuple[Array, ...], priority: int = NORMAL, deadline_ns: int = 0
    ) -> Answer:
        """The outputs [n, *shape] for a batch [n, *shape], which is computed as one; otherwise as `infer`."""
        return await self._admit(inputs, len(inputs[0]), priority, deadline_ns)

    def submit(
        self, inputs: tuple[Array, ...], priority: int = NORMAL, deadline_ns: int = 0
    ) -> Future[Answer]:
        """As `infer`, for callers that want a future: refused here and now, or waiting for its batch."""
        if deadline_ns or priority != NORMAL or len(self._lane) >= self._waiting.room:
            return self._admit(inputs, 0, priority, deadline_ns)
        future: Future[Answer] = Future(loop=self._loop)
        self._lane.append((future, inputs, self._clock()))
        if not self._dispatch.turn:
            self._dispatch.schedule()
        return future

    def rows_at_once(self, inputs: tuple[Array, ...], over: Callable[[], bool]) -> Rows | None:
        """The outputs [m, *shape] of the first m of these observations [n, *shape], computed here and now;
        None when they have to wait, each for itself.

        For whoever has many at once, and would compute on this thread whatever became of them: it spares
        each its own way. Where one alone is answered at once, so is each of these, one after the other until
        it is `over`: a batch would give other last bits. Otherwise they are a batch. None also where that
        costs more, and where the agent raised, of which whoever asks for one of them alone is told.
        """
        if not self._waiting.room or self.workers.kind != "inline":
            return None
        if self._alone.answers:
            return self._alone.rows_at_once(inputs, over)
        cost, rows = self.cost, min(len(inputs[0]), self.settings.limit)
        if rows < 2 or cost.of(rows) > rows * (cost.single_ns + REQUEST_NS):
            return None
        counts, taken = self._counts, [array[:rows] for array in inputs]
        began = self._clock()
        counts.batch(rows, "full" if rows < len(inputs[0]) else "idle")
        try:
            outputs = computed(self.executor, taken)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a user's model may raise anything, a CancelledError as well
            counts.ended(rows, 0, self._clock() - began)
            return None
        took = self._clock() - began
        counts.ended(rows, 0, took)  # nobody waited
        counts.answered += rows
        counts.latency.record_many([took] * rows)
        self.shown.show(taken, outputs)
        return Rows(outputs)

    @property
    def depth(self) -> int:
        """How many rows wait now."""
        return self._waiting.rows

    @property
    def ended(self) -> int:
        """How many requests came to an end until now."""
        return self._counts.ended_requests

    def stats(self) -> BatcherStats:
        """What was done until now."""
        waiting = self._waiting
        self._counts.cancelled = waiting.gone
        return self._counts.stats(
            waiting.rows,
            waiting.rows * self._row_bytes,
            self.settings,
            self.workers.kind,
            self.workers.size,
        )

    async def replace(self, executor: Executor, cost: BatchCost) -> None:
        """Answer with `executor` as soon as the workers have it, until then with the one before.

        Returns when the last batch of that one has ended. What workers raise when they cannot have the new
        one passes through, and changes nothing.
        """
        await self.workers.prepare(executor)
        self._alone.executor = executor
        self.cost = cost
        self._admission.forget()
        await self._dispatch.replace(executor)

    async def close(self, *, drain: bool = True) -> None:
        """Refuse new requests; answer those that wait, or with `drain=False` refuse them, too."""
        self._closed = True
        self._waiting.room = 0
        if drain:
            await self._alone.drain()
        await self._dispatch.close(drain=drain)

    # ---- inside -------------------------------------------------------------------------------------------

    def _open_lane(self) -> None:
        """Let requests into the lane, unless something waits elsewhere that they would overtake."""
        self._waiting.room = 0 if self._closed or self._waiting.queue.rows else self._lane_limit

    def _admit(self, inputs: tuple[Array, ...], rows: int, priority: int, deadline: int) -> Future[Answer]:
        if self._closed:
            raise EngineClosed("the agent is served no longer: it was unloaded, or the engine was shut down")
        settings, now, count = self.settings, self._clock(), rows or 1
        if deadline:
            self._admission.refuse_late(count, priority, deadline, now, settings, self.cost, self.workers)
        after = self._waiting.rows + count
        if after > settings.queue_rows or after * self._row_bytes > settings.queue_bytes:
            self._admission.make_room(count, priority, settings, self.cost, self.workers.size)
        future: Future[Answer] = Future(loop=self._loop)
        self._waiting.through_queue().push(Request(future, inputs, rows, priority, deadline, now))
        self._waiting.room = 0  # from now on the order counts: everything goes here, until nothing waits
        if not self._dispatch.turn:
            self._dispatch.schedule()
        return future
