"""The batcher: what waits while a worker is busy becomes its next batch.

It conserves work: a worker that is idle takes what is there at the event loop's next turn, so that nobody
waits for a timer, and requests of callers that were woken together travel together. On the loop's own thread
the first request of a turn is even computed at once, without a turn; later ones of the same turn wait for the
next, so that a caller in a loop cannot keep the others out.

A request costs a future, some counting and its share of a batch. There is no task, no lock and no timer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from grandopt.errors import AgentFailed, DeadlineExceeded, EngineClosed, Overloaded, WorkerLost, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.histogram import LatencyHistogram
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.queue import NEVER, RequestQueue
from grandopt.runtime.scheduling.request import Priority, Request
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings
from grandopt.runtime.scheduling.workers.base import Outcome, Workers
from grandopt.signature import Array

Tap = Callable[[Sequence[Array], Sequence[Array]], None]
SMOOTHED = 0.1
"""Weight of the last batch in the observed cost of a row."""


class Batcher:
    """Answers requests of one agent in batches. It belongs to the event loop that it was made in.

    Inputs must fit the agent's signature (`infer` does not check them), and must not be changed until the
    answer is there. Answers are views of a batch's outputs, which nothing else writes to.
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
        self.settings = settings
        self.cost = cost
        self.workers = workers
        self.tap: Tap | None = None
        """Sees the inputs and outputs of one in `tap_every` batches after the answers went out; the arrays
        are its own only during the call."""
        self.tap_every = 1
        self._executor = executor
        self._call = executor
        self._single = len(executor.signature.outputs) == 1
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._row_bytes = sum(
            prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in executor.signature.inputs
        )
        self._queue = RequestQueue()
        self._retries: deque[Request] = deque()
        self._inline = workers.kind == "inline"
        self._turn = False  # a flush is scheduled
        self._closed = False
        self._running: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._observed_ns = 0.0
        self._latency = LatencyHistogram()
        self._cancelled = self._answered = self._failed = self._missed = self._batches = self._busy = 0
        self._rejected: Counter[str] = Counter()
        self._rows: Counter[int] = Counter()
        self._released: Counter[str] = Counter()

    async def infer(
        self, inputs: tuple[Array, ...], priority: int = Priority.NORMAL, deadline_ns: int = 0
    ) -> tuple[Array, ...]:
        """The outputs [*shape] for one observation, given as one array [*shape] per input.

        `deadline_ns` is a time of the clock, 0 none. Raises Overloaded and DeadlineExceeded (both at once, or
        when a higher class came or the time passed), AgentFailed, WorkerLost and EngineClosed.
        """
        if self._inline and not self._turn and not deadline_ns and not self._closed:
            return self._direct(inputs)
        request = self._admit(inputs, 0, priority, deadline_ns)
        try:
            return await request.future
        except asyncio.CancelledError:
            self._forget(request)
            raise

    async def infer_rows(
        self, inputs: tuple[Array, ...], priority: int = Priority.NORMAL, deadline_ns: int = 0
    ) -> tuple[Array, ...]:
        """The outputs [n, *shape] for a batch [n, *shape], which is computed as one; otherwise as `infer`."""
        request = self._admit(inputs, len(inputs[0]), priority, deadline_ns)
        try:
            return await request.future
        except asyncio.CancelledError:
            self._forget(request)
            raise

    def submit(
        self, inputs: tuple[Array, ...], priority: int = Priority.NORMAL, deadline_ns: int = 0
    ) -> asyncio.Future[tuple[Array, ...]]:
        """As `infer`, for callers that want a future: it is refused here and now, or waits for its batch.

        Whoever cancels the future lets the batcher find out when the request's turn comes.
        """
        return self._admit(inputs, 0, priority, deadline_ns).future

    def stats(self) -> BatcherStats:
        """What was done until now."""
        return BatcherStats(
            latency=self._latency.snapshot(),
            answered=self._answered,
            failed=self._failed,
            cancelled=self._cancelled,
            missed=self._missed,
            rejected=dict(self._rejected),
            depth=self._queue.rows,
            queued_bytes=self._queue.rows * self._row_bytes,
            batches=self._batches,
            rows=dict(self._rows),
            released=dict(self._released),
            busy_ns=self._busy,
            settings=self.settings,
            workers=self.workers.kind,
            concurrency=self.workers.size,
        )

    async def replace(self, executor: Executor, cost: BatchCost) -> None:
        """Answer with `executor` from now on; returns when the last batch of the one before has ended."""
        self._executor = self._call = executor
        self.cost = cost
        self._observed_ns = 0.0
        self.workers.replace(executor)
        running = list(self._running.values())
        if running:
            await asyncio.wait(running)

    async def close(self, *, drain: bool = True) -> None:
        """Refuse new requests; answer those that wait, or with `drain=False` refuse them, too."""
        self._closed = True
        if not drain:
            for request in [*self._queue.drain(), *self._retries]:
                self._fail(request, EngineClosed("the engine was shut down before the request's turn"))
            self._retries.clear()
        await self._idle.wait()
        while self._running:
            await asyncio.wait(list(self._running.values()))
        await self.workers.close()

    # ---- before the batch ---------------------------------------------------------------------------------

    def _admit(self, inputs: tuple[Array, ...], rows: int, priority: int, deadline: int) -> Request:
        if self._closed:
            raise EngineClosed("the engine is shut down")
        queue, settings, now = self._queue, self.settings, self._clock()
        if deadline:
            self._refuse_late(rows or 1, priority, deadline, now)
        waiting = queue.rows + (rows or 1)
        if waiting > settings.queue_rows or waiting * self._row_bytes > settings.queue_bytes:
            self._make_room(priority, waiting > settings.queue_rows)
        request = Request(self._loop.create_future(), inputs, rows, priority, deadline, now)
        queue.push(request)
        if not self._turn:
            self._schedule()
        return request

    def _refuse_late(self, rows: int, priority: int, deadline: int, now: int) -> None:
        before = self._queue.rows_before(priority)
        ready = now + self._wait_ns(before) + self.cost.of(rows)
        if ready <= deadline:
            return
        self._rejected["deadline"] += 1
        if deadline <= now:
            raise DeadlineExceeded(
                f"the deadline passed {(now - deadline) / 1e6:.3g} ms before the request came"
            )
        raise DeadlineExceeded(
            f"the deadline is in {(deadline - now) / 1e6:.3g} ms, an answer would take about "
            f"{(ready - now) / 1e6:.3g} ms with {before} rows before it",
            max(0.0, (ready - deadline) / 1e9) if before else 0.0,
        )

    def _make_room(self, priority: int, by_rows: bool) -> None:
        """Refuse a request that waits in a lower class, or raise Overloaded."""
        retry = self._wait_ns(self._queue.rows) / 1e9
        displaced = self._queue.displace(priority)
        if displaced is not None:
            self._rejected["displaced"] += 1
            self._fail(
                displaced, Overloaded("the queue is full, and a request of a higher class came", retry)
            )
            return
        reason = "rows" if by_rows else "bytes"
        self._rejected[reason] += 1
        limit = self.settings.queue_rows if by_rows else self.settings.queue_bytes
        raise Overloaded(
            f"{self._queue.rows} rows wait already, at most {limit} {reason} may; try again in {retry:.3g} s",
            retry,
        )

    def _wait_ns(self, rows: int) -> float:
        """How long so many rows keep the workers busy: by the measured cost, or what was seen if slower."""
        batches = -(-rows // self.settings.limit)
        measured = self.cost.per_observation_ns * rows + self.cost.fixed_ns * batches
        return max(measured, self._observed_ns * rows) / max(1, self.workers.size)

    def _forget(self, request: Request) -> None:
        """The caller is gone: if the request waits, it no longer counts."""
        self._cancelled += 1
        if request.future.cancelled():
            self._queue.forget(request)

    # ---- batches ------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        self._turn = True
        self._idle.clear()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Give every idle worker what is there; one batch in a turn where the loop itself computes."""
        self._turn = False
        while self.workers.idle > 0 and (self._retries or self._queue.rows > 0):
            if self._retries:
                self._start([self._retries.popleft()], "retry")
            else:
                self._start_next()
            if self._inline:
                break
        if self._inline and (self._retries or self._queue.rows > 0):
            self._schedule()
        elif not self._retries and self._queue.rows <= 0:
            self._idle.set()

    def _start_next(self) -> None:
        queue, settings, now = self._queue, self.settings, self._clock()
        limit, reason = settings.limit, "idle"
        first = queue.first_deadline()
        if first != NEVER:
            possible = (first - now - self.cost.fixed_ns) / max(self.cost.per_observation_ns, 1.0)
            if 1 <= possible < min(limit, queue.rows):
                limit, reason = int(possible), "deadline"
        if queue.rows > settings.limit and reason == "idle":
            reason = "full"
        taken = queue.take(limit, now, int(settings.ageing_s * 1e9))
        if first != NEVER:
            taken = self._in_time(taken, now + self.cost.of(1))
        if taken:
            self._start(taken, reason)

    def _in_time(self, requests: list[Request], ready: float) -> list[Request]:
        """Those whose answers are not late already; the others are told."""
        good = []
        for request in requests:
            if request.deadline and request.deadline < ready:
                self._missed += 1
                self._fail(request, DeadlineExceeded("the deadline passed while the request waited"))
            else:
                good.append(request)
        return good

    def _start(self, requests: list[Request], reason: str) -> None:
        rows = len(requests) if not any(request.rows for request in requests) else 0
        rows = rows or sum(request.size for request in requests)
        self._batches += 1
        self._rows[1 << (rows - 1).bit_length()] += 1
        self._released[reason] += 1
        self._number += 1
        number, began = self._number, self._clock()
        try:
            inputs = self._gathered(requests, rows)
        except (ValueError, TypeError) as error:  # an array that is not what the signature says
            self._end(requests, [], error, began)
            return
        if self._inline:
            self.workers.submit(inputs, lambda outcome: self._end(requests, inputs, outcome, began))
            return
        ended = self._running[number] = self._loop.create_future()

        def done(outcome: Outcome) -> None:
            del self._running[number]
            ended.set_result(None)
            try:
                self._end(requests, inputs, outcome, began)
            finally:
                if not self._turn:
                    self._flush()

        self.workers.submit(inputs, done)

    def _gathered(self, requests: list[Request], rows: int) -> list[Array]:
        if len(requests) == 1 and requests[0].rows:
            return list(requests[0].inputs)
        buffers = self.workers.rows(rows)
        for index, buffer in enumerate(buffers):
            # All rows in one call: a third of the time of one assignment for each.
            if buffer.ndim == 1 or any(request.rows for request in requests):
                at = 0
                for request in requests:
                    buffer[at : at + request.size] = request.inputs[index]
                    at += request.size
            else:
                joined = buffer.reshape(-1, *buffer.shape[2:])
                np.concatenate([request.inputs[index] for request in requests], out=joined, casting="no")
        return buffers

    # ---- after the batch ----------------------------------------------------------------------------------

    def _end(self, requests: list[Request], inputs: Sequence[Array], outcome: Outcome, began: int) -> None:
        now = self._clock()
        self._busy += now - began
        if isinstance(outcome, Exception):
            self._failed_batch(requests, outcome)
            return
        rows = len(outcome[0])
        if self._queue.rows > 0:
            self._observed_ns += SMOOTHED * ((now - began) / rows - self._observed_ns)
        self._deliver(requests, outcome)
        self._latency.record_many([now - request.arrived for request in requests])
        if self.tap is not None and self._batches % self.tap_every == 0:
            self.tap(inputs, outcome)

    def _deliver(self, requests: list[Request], outputs: tuple[Array, ...]) -> None:
        answered = 0
        if self._single and not any(request.rows for request in requests):
            for request, row in zip(requests, outputs[0], strict=True):
                future = request.future
                if not future.done():
                    future.set_result((row,))
                    answered += 1
        else:
            at = 0
            for request in requests:
                answer = tuple(
                    output[at : at + request.rows] if request.rows else output[at] for output in outputs
                )
                at += request.size
                if not request.future.done():
                    request.future.set_result(answer)
                    answered += 1
        self._answered += answered

    def _failed_batch(self, requests: list[Request], error: Exception) -> None:
        """One request's error is not its neighbours': each is tried again, alone."""
        if len(requests) == 1 or isinstance(error, WorkerLost):
            for request in requests:
                self._failed += not request.future.done()
                if isinstance(error, WorkerLost):
                    self._fail(request, WorkerLost(str(error)))
                else:
                    failed = AgentFailed(f"the agent raised {named_line(error)}")
                    failed.__cause__ = error
                    self._fail(request, failed)
            return
        self._retries.extend(request for request in requests if not request.future.done())
        if not self._turn:
            self._schedule()

    @staticmethod
    def _fail(request: Request, error: Exception) -> None:
        if not request.future.done():
            request.future.set_exception(error)

    def _direct(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The first request of a turn, computed here; whatever comes before the next turn waits for that."""
        self._turn = True
        self._loop.call_soon(self._flush)
        began = self._clock()
        self._batches += 1
        self._rows[1] += 1
        self._released["direct"] += 1
        try:
            answer = self._call(*inputs)
        except Exception as error:
            self._failed += 1
            raise AgentFailed(f"the agent raised {named_line(error)}") from error
        now = self._clock()
        self._busy += now - began
        self._answered += 1
        self._latency.record(now - began)
        outputs = (answer,) if self._single else answer
        if self.tap is not None and self._batches % self.tap_every == 0:
            self.tap([array[None] for array in inputs], [output[None] for output in outputs])
        return outputs
