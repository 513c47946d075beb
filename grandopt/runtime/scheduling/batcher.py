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
from collections import deque
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from grandopt.errors import AgentFailed, DeadlineExceeded, EngineClosed, WorkerLost, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.admission import Admission
from grandopt.runtime.scheduling.assembly import deliver_requests, deliver_rows, write_requests, write_rows
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.queue import NEVER
from grandopt.runtime.scheduling.request import Priority, Request
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings
from grandopt.runtime.scheduling.waiting import Plain, Waiting
from grandopt.runtime.scheduling.workers.base import Outcome, Workers
from grandopt.signature import Array

Answer = tuple[Array, ...]
Tap = Callable[[Sequence[Array], Sequence[Array]], None]
NORMAL = int(Priority.NORMAL)
SUSPENSION_NS = 2_000
"""What it costs to suspend a caller and to wake it: one whose answer takes less is not suspended."""
BUDGET_NS = 4_000
"""What a caller may compute on the loop's thread from one suspension to the next."""
QUIET_NS = 100_000
"""So long after the last suspension or refill a caller has its budget again: 1/25 of the time at most, which
the loop does not notice."""


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
        self.workers = workers
        self.tap: Tap | None = None
        """Sees the inputs and outputs of one in `tap_every` batches after the answers went out; the arrays
        are its own only during the call."""
        self.tap_every = 1
        self._executor = executor
        self._single = len(executor.signature.outputs) == 1
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._row_bytes = sum(
            prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in executor.signature.inputs
        )
        self._waiting = Waiting()
        self._lane = self._waiting.lane
        self._retries: deque[Request] = deque()
        self._inline = workers.kind == "inline"
        self.cost = cost
        self._turn = False  # a flush is scheduled
        self._closed = False
        self._budget = self._refilled_at = 0
        self._running: set[Future[None]] = set()
        self._idle = asyncio.Event()
        self._counts = BatchCounts()
        self._admission = Admission(self._waiting, self._row_bytes, self._counts.rejected)
        self.settings = settings

    @property
    def settings(self) -> BatchSettings:
        """What it goes by; may be set while it serves."""
        return self._settings

    @settings.setter
    def settings(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._lane_limit = min(settings.queue_rows, settings.queue_bytes // self._row_bytes)
        self._open_lane()

    @property
    def cost(self) -> BatchCost:
        """What a batch costs; may be set while it serves."""
        return self._cost

    @cost.setter
    def cost(self, cost: BatchCost) -> None:
        self._cost = cost
        worth = self._inline and cost.single_ns <= cost.per_observation_ns + SUSPENSION_NS
        self._burst = max(1, int(BUDGET_NS / max(cost.single_ns, 1.0))) if worth else 0

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
        now = self._refilled_at = self._clock()
        self._lane.append((future, inputs, now))
        if not self._turn:
            self._schedule()
        return future

    def at_once(self, inputs: tuple[Array, ...], deadline_ns: int = 0) -> Answer | None:
        """The answer computed here and now; None when the request has to `submit`, and wait."""
        if self._budget <= 0 or not self._room:
            if not self._burst or not self._room or (now := self._clock()) - self._refilled_at < QUIET_NS:
                return None
            self._budget, self._refilled_at = self._burst, now
        counts, began = self._counts, self._clock()
        if deadline_ns and began + self._cost.single_ns > deadline_ns:
            return None  # `submit` says why
        self._budget -= 1
        counts.direct += 1
        try:
            answer = self._executor(*inputs)
        except Exception as error:
            counts.failed += 1
            raise AgentFailed(f"the agent raised {named_line(error)}") from error
        took = self._clock() - began
        counts.busy_ns += took
        counts.answered += 1
        counts.latency.record(took)
        outputs: Answer = (answer,) if self._single else answer
        if self.tap is not None and counts.direct % self.tap_every == 0:
            self.tap([array[None] for array in inputs], [output[None] for output in outputs])
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
        """Answer with `executor` from now on; returns when the last batch of the one before has ended."""
        self._executor = executor
        self.cost = cost
        self._admission.forget()
        self.workers.replace(executor)
        if self._running:
            await asyncio.wait(set(self._running))

    async def close(self, *, drain: bool = True) -> None:
        """Refuse new requests; answer those that wait, or with `drain=False` refuse them, too."""
        self._closed = True
        self._room = 0
        if not drain:
            for request in [*self._waiting.drain(), *self._retries]:
                _fail(request.future, EngineClosed("the engine was shut down before the request's turn"))
            self._retries.clear()
        while self._turn or self._running or self._retries or self._waiting.rows:
            self._idle.clear()
            await self._idle.wait()
        await self.workers.close()

    # ---- before the batch ---------------------------------------------------------------------------------

    def _admit(self, inputs: tuple[Array, ...], rows: int, priority: int, deadline: int) -> Future[Answer]:
        if self._closed:
            raise EngineClosed("the engine is shut down")
        settings, now, count = self.settings, self._clock(), rows or 1
        if deadline:
            self._admission.refuse_late(
                count, priority, deadline, now, settings, self.cost, self.workers.size
            )
        after = self._waiting.rows + count
        if after > settings.queue_rows or after * self._row_bytes > settings.queue_bytes:
            self._admission.make_room(count, priority, settings, self.cost, self.workers.size)
        future: Future[Answer] = Future(loop=self._loop)
        self._waiting.through_queue().push(Request(future, inputs, rows, priority, deadline, now))
        self._room = 0  # from now on the order counts: everything goes here, until nothing waits
        if not self._turn:
            self._schedule()
        return future

    # ---- batches ------------------------------------------------------------------------------------------

    def _open_lane(self) -> None:
        """Let requests into the lane, unless something waits elsewhere that they would overtake."""
        self._room = 0 if self._closed or self._waiting.queue.rows else self._lane_limit

    def _schedule(self) -> None:
        self._turn = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Give every idle worker what is there; one batch in a turn where the loop itself computes."""
        self._turn = False
        waiting, workers = self._waiting, self.workers
        while workers.idle > 0 and (self._lane or self._retries or waiting.queue.rows):
            if self._retries:
                self._start_requests([self._retries.popleft()], "retry")
            elif waiting.queue.rows:
                self._start_next()
            else:
                limit = self.settings.limit
                reason = "full" if len(self._lane) > limit else "idle"
                taken = waiting.take_plain(limit)
                if taken:
                    self._start_plain(taken, reason)
            if self._inline:
                break
        if self._inline and (self._lane or self._retries or waiting.queue.rows) and not self._turn:
            self._schedule()
        if not self._room:
            self._open_lane()
        self._idle.set()

    def _start_plain(self, taken: list[Plain], reason: str) -> None:
        futures, observations, arrived = zip(*taken, strict=True)
        buffers = self.workers.rows(len(taken))

        def again() -> list[Request]:
            return [Request(future, inputs, 0, NORMAL, 0, at) for future, inputs, at in taken]

        def end(outputs: Answer, now: int) -> None:
            self._counts.answered += deliver_rows(futures, outputs)
            self._counts.latency.record_many([now - at for at in arrived])

        try:
            write_rows(observations, buffers)
        except (ValueError, TypeError) as error:  # an array that is not what the signature says
            self._retry(again(), error)
            return
        self._start(buffers, len(taken), reason, end, again)

    def _start_next(self) -> None:
        queue, settings, now = self._waiting.through_queue(), self.settings, self._clock()
        limit, reason = settings.limit, "full" if queue.rows > settings.limit else "idle"
        first = queue.first_deadline()
        if first != NEVER:
            possible = (first - now - self.cost.fixed_ns) / max(self.cost.per_observation_ns, 1.0)
            if 1 <= possible < min(limit, queue.rows):
                limit, reason = int(possible), "deadline"
        taken = queue.take(limit, now, int(settings.ageing_s * 1e9))
        taken = self._in_time(taken, now + self.cost.of(1))
        if taken:
            self._start_requests(taken, reason)

    def _in_time(self, requests: list[Request], ready: float) -> list[Request]:
        """Those whose answers are not late already; the others are told."""
        good = []
        for request in requests:
            if request.deadline and request.deadline < ready:
                self._counts.missed += 1
                _fail(request.future, DeadlineExceeded("the deadline passed while the request waited"))
            else:
                good.append(request)
        return good

    def _start_requests(self, requests: list[Request], reason: str) -> None:
        several = any(request.rows for request in requests)
        rows = sum(request.size for request in requests)

        def end(outputs: Answer, now: int) -> None:
            deliver = (
                deliver_requests(requests, outputs)
                if several
                else deliver_rows([request.future for request in requests], outputs)
            )
            self._counts.answered += deliver
            self._counts.latency.record_many([now - request.arrived for request in requests])

        try:
            if several and len(requests) == 1:
                inputs: Sequence[Array] = list(requests[0].inputs)
            else:
                inputs = self.workers.rows(rows)
                write = write_requests if several else _write_single
                write(requests, inputs)
        except (ValueError, TypeError) as error:
            self._retry(requests, error)
            return
        self._start(inputs, rows, reason, end, lambda: requests)

    def _start(
        self,
        inputs: Sequence[Array],
        rows: int,
        reason: str,
        end: Callable[[Answer, int], None],
        requests: Callable[[], list[Request]],
    ) -> None:
        """Hand a batch to a worker; `end` gives out its outputs, `requests` are those to tell of an error."""
        self._counts.batch(rows, reason)
        self._admission.purgeable = True
        began = self._clock()

        def done(outcome: Outcome) -> None:
            now = self._clock()
            self._counts.busy_ns += now - began
            if isinstance(outcome, Exception):
                self._retry(requests(), outcome)
                return
            if self._lane or self._waiting.queue.rows:
                self._admission.saw((now - began) / rows)
            end(outcome, now)
            if self.tap is not None and self._counts.batches % self.tap_every == 0:
                self.tap(inputs, outcome)

        if self._inline:
            self.workers.submit(inputs, done)
        else:
            self._submit_elsewhere(inputs, done)

    def _submit_elsewhere(self, inputs: Sequence[Array], done: Callable[[Outcome], None]) -> None:
        ended: Future[None] = self._loop.create_future()
        self._running.add(ended)

        def back(outcome: Outcome) -> None:
            self._running.discard(ended)
            ended.set_result(None)
            try:
                done(outcome)
            finally:
                self._flush()

        self.workers.submit(inputs, back)

    def _retry(self, requests: list[Request], error: Exception) -> None:
        """One request's error is not its neighbours': each is tried again, alone."""
        if len(requests) > 1 and not isinstance(error, WorkerLost):
            self._retries.extend(request for request in requests if not request.future.done())
            if not self._turn:
                self._schedule()
            return
        for request in requests:
            self._counts.failed += not request.future.done()
            if isinstance(error, WorkerLost):
                _fail(request.future, WorkerLost(str(error)))
            else:
                failed = AgentFailed(f"the agent raised {named_line(error)}")
                failed.__cause__ = error
                _fail(request.future, failed)


def _write_single(requests: Sequence[Request], buffers: Sequence[Array]) -> None:
    write_rows([request.inputs for request in requests], buffers)


def _fail(future: Future[Answer], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
