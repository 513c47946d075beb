"""When a batch goes to a worker, what is in it, and what becomes of its outcome."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from grandopt.errors import AgentFailed, DeadlineExceeded, EngineClosed, WorkerLost, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.admission import Admission
from grandopt.runtime.scheduling.assembly import deliver_requests, deliver_rows, write_requests, write_rows
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.queue import NEVER
from grandopt.runtime.scheduling.request import Answer, Priority, Request, fail
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.tap import TapPoint
from grandopt.runtime.scheduling.waiting import Plain, Waiting
from grandopt.runtime.scheduling.workers.base import Outcome, Workers
from grandopt.signature import Array


class Dispatch:
    """Gives idle workers what waits, and callers their answers. It belongs to the running event loop.

    `turn` says that it is going to look at the event loop's next turn; whoever lets something wait sees to it
    by `schedule`. `looked` is called after each look.
    """

    def __init__(
        self,
        workers: Workers,
        waiting: Waiting,
        admission: Admission,
        counts: BatchCounts,
        shown: TapPoint,
        settings: BatchSettings,
        cost: BatchCost,
        looked: Callable[[], None],
        clock: Callable[[], int],
    ) -> None:
        self.workers = workers
        self.settings = settings
        self.cost = cost
        self.turn = False
        self._waiting = waiting
        self._admission = admission
        self._counts = counts
        self._shown = shown
        self._looked = looked
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inline = workers.kind == "inline"
        self._retries: deque[Request] = deque()
        self._running: set[Future[None]] = set()
        self._idle = asyncio.Event()
        workers.freed = self._freed

    def schedule(self) -> None:
        """Look at what waits at the event loop's next turn."""
        self.turn = True
        self._loop.call_soon(self._look)

    async def replace(self, executor: Executor) -> None:
        """Compute later batches with `executor`; returns when those that run have ended."""
        self.workers.replace(executor)
        if self._running:
            await asyncio.wait(set(self._running))

    async def close(self, *, drain: bool) -> None:
        """Wait until nothing waits or runs, with `drain=False` after telling what waits; end the workers."""
        if not drain:
            self._refuse()
        try:
            while self.turn or self._running or self._work():
                self._idle.clear()
                await self._idle.wait()
        except asyncio.CancelledError:  # whoever ends the engine waits no longer; nobody else shall
            self._refuse()
            self.workers.abandon()
            raise
        await self.workers.close()

    def _freed(self) -> None:
        """Of the workers: one is idle that was not before."""
        if not self.turn:
            self._look()

    def _refuse(self) -> None:
        """Tell all who wait that their turn does not come."""
        for request in [*self._waiting.drain(), *self._retries]:
            fail(request.future, EngineClosed("the engine was shut down before the request's turn"))
        self._retries.clear()

    # ---- what goes to a worker ----------------------------------------------------------------------------

    def _work(self) -> int:
        return len(self._waiting.lane) + len(self._retries) + self._waiting.queue.rows

    def _look(self) -> None:
        """Give every idle worker what is there; one batch in a turn where the loop itself computes."""
        self.turn = False
        try:
            while (idle := self.workers.idle) > 0 and self._work():
                if self._retries:
                    self._start([self._retries.popleft()], "retry")
                elif self._waiting.queue.rows:
                    self._start_next(idle)
                else:
                    self._start_plain(idle)
                if self._inline:
                    break
        finally:
            if self._inline and not self.turn and self._work():
                self.schedule()
            self._looked()
            self._idle.set()

    def _share(self, rows: int, idle: int) -> int:
        """How many rows a batch may have: where several workers are idle, and computing takes longer than
        what is fixed, each gets its part."""
        part = -(-rows // idle)
        if idle > 1 and part * self.cost.per_observation_ns >= self.cost.fixed_ns:
            return min(part, self.settings.limit)
        return self.settings.limit

    def _start_plain(self, idle: int) -> None:
        """A batch of what waits in the lane."""
        there = len(self._waiting.lane)
        share = self._share(there, idle)
        taken = self._waiting.take_plain(share)
        if not taken:
            return
        futures, observations, arrived = zip(*taken, strict=True)
        inputs = self._written(len(taken), partial(write_rows, observations), lambda: _requests(taken))
        if inputs is None:
            return

        def end(outputs: Answer, now: int) -> None:
            self._counts.answered += deliver_rows(futures, outputs)
            self._record(futures, arrived, now)

        reason = "full" if there > self.settings.limit else "idle"
        self._compute(inputs, len(taken), reason, end, lambda: _requests(taken))

    def _start_next(self, idle: int) -> None:
        """A batch of what is next in the queue, as large as the first deadline allows."""
        queue, settings, now = self._waiting.through_queue(), self.settings, self._clock()
        there, cost = queue.rows, self.cost
        limit, reason = self._share(there, idle), "full" if there > settings.limit else "idle"
        first = queue.first_deadline()
        if first != NEVER:
            possible = (first - now - cost.fixed_ns) / self._admission.row_ns(cost, self.workers.size)
            if 1 <= possible < min(limit, there):
                limit, reason = int(possible), "deadline"
        taken = queue.take(limit, now, int(settings.ageing_s * 1e9))
        taken = self._in_time(taken, now + cost.of(1), "the request waited")
        if first != NEVER:  # a batch that is sized for its first deadline, or had to do without those
            taken = self._in_time(taken, now + self._ready_in(taken), "the request waited")
        if taken:
            self._start(taken, reason)
        if first != NEVER:
            self._admission.tell_late(now, settings, cost, self.workers.size)

    def _ready_in(self, requests: list[Request]) -> float:
        """How long a batch of them is likely to take."""
        return self.cost.fixed_ns + self._admission.row_ns(self.cost, self.workers.size) * sum(
            request.size for request in requests
        )

    def _in_time(self, requests: list[Request], ready: float, when: str) -> list[Request]:
        """Those whose answers are not late already; the others are told."""
        good = []
        for request in requests:
            if request.deadline and request.deadline < ready:
                if fail(request.future, DeadlineExceeded(f"the deadline passed while {when}")):
                    self._admission.missed(1)
            else:
                good.append(request)
        return good

    def _start(self, requests: list[Request], reason: str) -> None:
        """A batch of these requests."""
        several = any(request.rows for request in requests)
        rows = sum(request.size for request in requests)
        inputs: Sequence[Array] | None
        if several and len(requests) == 1:
            inputs = list(requests[0].inputs)
        elif several:
            inputs = self._written(rows, partial(write_requests, requests), lambda: requests)
        else:
            observations = [request.inputs for request in requests]
            inputs = self._written(rows, partial(write_rows, observations), lambda: requests)
        if inputs is None:
            return

        def end(outputs: Answer, now: int) -> None:
            wanted = self._in_time(requests, now, "it was computed")  # the others' futures are done
            if several:
                self._counts.answered += deliver_requests(requests, outputs)
            else:
                self._counts.answered += deliver_rows([request.future for request in requests], outputs)
            self._record([request.future for request in wanted], [request.arrived for request in wanted], now)

        self._compute(inputs, rows, reason, end, lambda: requests)

    def _record(self, futures: Sequence[Future[Answer]], arrived: Sequence[int], now: int) -> None:
        """The latencies of those that wanted their answers."""
        self._counts.latency.record_many(
            [now - at for future, at in zip(futures, arrived, strict=True) if not future.cancelled()]
        )

    def _written(
        self,
        rows: int,
        write: Callable[[Sequence[Array]], None],
        requests: Callable[[], list[Request]],
    ) -> Sequence[Array] | None:
        """The workers' buffers with a batch in them; None where that failed, of which `requests` are told."""
        inputs: Sequence[Array] | None = None
        try:
            inputs = self.workers.rows(rows)
            write(inputs)
        except (ValueError, TypeError, OSError, MemoryError) as error:
            # An array that is not what the signature says; or the system has no more memory or files.
            if inputs is not None:
                self.workers.unused(inputs)
            self._retry(requests(), error)
            return None
        return inputs

    # ---- a batch on its way -------------------------------------------------------------------------------

    def _compute(
        self,
        inputs: Sequence[Array],
        rows: int,
        reason: str,
        end: Callable[[Answer, int], None],
        requests: Callable[[], list[Request]],
    ) -> None:
        """Hand a batch to a worker; `end` gives out its outputs, `requests` are those to tell of an error."""
        began = self._clock()
        self._counts.batch(rows, reason)
        self._admission.began(rows, began, began + self.cost.of(rows))

        def done(outcome: Outcome) -> None:
            now = self._clock()
            self._admission.ended(now, rows)
            if isinstance(outcome, BaseException):
                self._counts.ended(rows, 0, now - began)
                self._retry(requests(), outcome)
                return
            before = self._counts.answered
            end(outcome, now)
            self._counts.ended(rows, self._counts.answered - before, now - began)
            self._shown.show(inputs, outcome)

        if self._inline:
            self.workers.submit(inputs, done)
            return
        ended: Future[None] = self._loop.create_future()
        self._running.add(ended)

        def back(outcome: Outcome) -> None:
            self._running.discard(ended)
            ended.set_result(None)
            try:
                done(outcome)
            finally:
                if not self.turn:  # what waits goes on at once, not a turn later
                    self._look()

        self.workers.submit(inputs, back)

    def _retry(self, requests: list[Request], error: BaseException) -> None:
        """One request's error is not its neighbours': each is tried again, alone."""
        if len(requests) > 1 and not isinstance(error, WorkerLost):
            self._retries.extend(request for request in requests if not request.future.done())
            if not self.turn:
                self.schedule()
            return
        for request in requests:
            told: Exception
            if isinstance(error, WorkerLost):
                told = WorkerLost(str(error))
            else:
                told = AgentFailed(f"the agent raised {named_line(error)}")
                told.__cause__ = error
            self._counts.failed += fail(request.future, told)


def _requests(taken: Sequence[Plain]) -> list[Request]:
    return [Request(future, inputs, 0, Priority.NORMAL, 0, arrived) for future, inputs, arrived in taken]
