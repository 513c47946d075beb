"""The batcher: what waits while a worker is busy becomes its next batch.

It conserves work: a worker that is idle takes what is there at the event loop's next turn, so that nobody
waits for a timer, and requests of callers that were woken together travel together.

Where the loop's own thread computes, and suspending a caller costs more than its share of a batch would save,
requests are answered at once, without a turn. So that a caller in a loop cannot keep the others out, each may
take some microseconds like that from one suspension to the next: a cooperative budget, as the schedulers of
Go and Tokio give one to their tasks.

A request costs a future, some counting and its share of a batch. There is no task, no lock and no timer.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Callable

from grandopt.errors import AgentFailed, DeadlineExceeded, EngineClosed, InputError, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.admission import Admission
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.dispatch import Dispatch, Tap
from grandopt.runtime.scheduling.request import Answer, Priority, Request
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings
from grandopt.runtime.scheduling.waiting import Waiting
from grandopt.runtime.scheduling.workers.base import Workers, own
from grandopt.signature import Array

NORMAL = int(Priority.NORMAL)
SUSPENSION_NS = 2_000
"""What it costs to suspend a caller and to wake it: one whose answer takes less is not suspended."""
BUDGET_NS = 4_000
"""What a caller may compute on the loop's thread from one suspension to the next."""


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
        self.executor = executor
        """What computes the answer to a request that comes now; read it, and `replace` it."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._row_bytes = executor.signature.row_bytes
        self._counts = BatchCounts()
        self._at_once = self._counts.at_once
        self._waiting = Waiting()
        self._lane = self._waiting.lane
        self._admission = Admission(self._waiting, self._row_bytes, self._counts.rejected)
        self._dispatch = Dispatch(
            workers, self._waiting, self._admission, self._counts, settings, cost, self._open_lane, clock
        )
        self._inline = workers.kind == "inline"
        self._closed = False
        self._budget = 0
        self._refilling = False  # a refill is scheduled
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
        self._single_ns = cost.single_ns
        worth = self._inline and cost.single_ns <= cost.per_observation_ns + SUSPENSION_NS
        self._budget = self._burst = max(1, int(BUDGET_NS / max(cost.single_ns, 1.0))) if worth else 0

    @property
    def tap(self) -> Tap | None:
        """Sees the inputs and outputs, [n, *shape], of one in `tap_every` batches after the answers went out.

        The arrays are its own only during the call. One that raises is told to the log, and taken away. What
        it gives, unless None, is how many rows pass before it sees a batch again.
        """
        return self._dispatch.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._dispatch.tap = tap

    @property
    def tap_every(self) -> int:
        """Of how many batches the tap sees one."""
        return self._dispatch.tap_every

    @tap_every.setter
    def tap_every(self, batches: int) -> None:
        self._dispatch.tap_every = batches

    @property
    def tap_over(self) -> int:
        """How many rows pass before the tap sees a batch; during its call, how many of that batch come
        first."""
        return self._dispatch.tap_over

    @tap_over.setter
    def tap_over(self, rows: int) -> None:
        self._dispatch.tap_over = rows

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
        if deadline_ns or priority != NORMAL or len(self._lane) >= self._room:
            return self._admit(inputs, 0, priority, deadline_ns)
        future: Future[Answer] = Future(loop=self._loop)
        self._lane.append((future, inputs, self._clock()))
        if not self._dispatch.turn:
            self._dispatch.schedule()
        return future

    def at_once(self, inputs: tuple[Array, ...], deadline_ns: int = 0) -> Answer | None:
        """The answer computed here and now; None when the request has to `submit`, and wait.

        Inputs of the right shape suffice: the agent itself converts, or raises SignatureError.
        """
        if self._budget <= 0 or not self._room:
            return None
        began = self._clock()
        if deadline_ns and began + self._single_ns > deadline_ns:
            return None  # `submit` says why
        self._budget -= 1
        if not self._refilling:
            if not self._loop.is_running():
                return None  # of another loop of this thread, which `submit` refuses
            self._refilling = True
            self._loop.call_soon(self._refill)
        try:
            answer = self.executor(*inputs)
        except (InputError, KeyboardInterrupt):  # the former says what does not fit
            self._counts.failed += 1
            raise
        except BaseException as error:  # a user's model may raise anything, a CancelledError as well
            self._counts.failed += 1
            raise AgentFailed(f"the agent raised {named_line(error)}") from error
        took = self._clock() - began
        if deadline_ns and began + took > deadline_ns:
            self._counts.missed += 1
            raise DeadlineExceeded("the deadline passed while the answer was computed")
        self._at_once.raw.append(took)
        outputs: Answer = answer if type(answer) is tuple else (answer,)
        for output in outputs:
            if output.base is not None:
                outputs = own(outputs, inputs)
                break
        dispatch = self._dispatch
        if dispatch.tap is not None:
            if dispatch.tap_over > 0:
                dispatch.tap_over -= 1
            else:
                dispatch.show([array[None] for array in inputs], [output[None] for output in outputs])
        return outputs

    def resumed(self) -> None:
        """A caller of `submit` goes on: it may have some answers at once before it is suspended again."""
        self._budget = self._burst

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
        self.executor = executor
        self.cost = cost
        self._admission.forget()
        await self._dispatch.replace(executor)

    async def close(self, *, drain: bool = True) -> None:
        """Refuse new requests; answer those that wait, or with `drain=False` refuse them, too."""
        self._closed = True
        self._room = 0
        await self._dispatch.close(drain=drain)

    # ---- inside -------------------------------------------------------------------------------------------

    def _refill(self) -> None:
        """The loop has come round: whoever calls now has its budget."""
        self._at_once.settle()
        self._refilling = False
        self._budget = self._burst

    def _open_lane(self) -> None:
        """Let requests into the lane, unless something waits elsewhere that they would overtake."""
        self._room = 0 if self._closed or self._waiting.queue.rows else self._lane_limit

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
        self._room = 0  # from now on the order counts: everything goes here, until nothing waits
        if not self._dispatch.turn:
            self._dispatch.schedule()
        return future
