"""Load on what is awaited: any number of requests at once, all in the caller's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError, ServingError
from grandopt.measurement.load.base import Load
from grandopt.measurement.load.recording import Recording
from grandopt.measurement.load.result import LoadResult
from grandopt.measurement.load.timing import late_ns, turn
from grandopt.signature import Array

BURST = 256
STOPPING_S = 5.0
"""How long a request that was cancelled may take to end."""
DRAWN = 4096
"""Priorities of a closed loop, which come in turns."""


class ConcurrentLoad(Load):
    """Load on a coroutine function, or on a function that gives a future ("submit").

    The latter costs the generator a third: no task is made. It may refuse by raising a ServingError itself;
    what else it raises ends the run, as a fault of the measuring program.
    """

    target: Callable[[Any, int, int], Awaitable[Any]]
    burst: int = BURST
    """How many requests are made before the loop goes round once more, where more are due. May be set."""

    async def closed(self, callers: int) -> LoadResult:
        """See `Load.closed`; each caller is one task."""
        if callers < 1:
            raise MeasurementError(f"callers must be at least 1 but got {callers}")
        nothing = np.zeros(0, dtype=np.int64)
        record = Recording(nothing, nothing, clock_ns=self.clock())
        end = self.settings.warmup_ns + round(self.settings.seconds * 1e9)
        priorities = self._priorities(DRAWN).tolist()
        tasks = [asyncio.create_task(self._caller(record, end, priorities)) for _ in range(callers)]
        try:
            await asyncio.wait(tasks, timeout=end / 1e9 + self.settings.grace_s)
        finally:
            await _stop(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()  # an error here is one of the measuring program
        return record.result(
            "closed loop",
            (self.settings.warmup_ns, end),
            deadline_ns=self.settings.deadline_ns,
            callers=callers,
        )

    async def _caller(self, record: Recording, end: int, priorities: Sequence[int]) -> None:
        told = self._told_ns()
        while (moment := self.clock() - record.begin) < end:
            place = record.add(moment, priorities[len(record.due) % DRAWN])
            latest = record.begin + moment + told if told else 0
            observation = self.observations[place % len(self.observations)]
            error = await _error_of(self._answer(observation, record.priorities[place], latest))
            if error is None:
                record.answered(place, self.clock() - record.begin)
            else:
                record.raised(place, self.clock() - record.begin, error)
                wait = max(0.0, getattr(error, "retry_after_s", 0.0))
                await asyncio.sleep(min(wait, max(0, end - moment) / 1e9))

    async def _answer(self, observation: Any, priority: int, latest: int) -> None:
        await self.target(observation, priority, latest)

    async def _open(self, due_ns: Array, end_ns: int, rate: float | None) -> LoadResult:
        record = Recording(due_ns, self._priorities(len(due_ns)), clock_ns=self.clock())
        flight = _InFlight(self.target, record, self.clock)
        try:
            await self._make(flight, record)
            over = record.begin + end_ns - self.clock()
            await flight.settle(max(0, over) / 1e9 + self.settings.grace_s)
        finally:
            await flight.give_up()
        return record.result(
            "open loop",
            (self.settings.warmup_ns, end_ns),
            deadline_ns=self.settings.deadline_ns,
            rate=rate,
        )

    async def _make(self, flight: _InFlight, record: Recording) -> None:
        """Begin each request when it is due, those that are due together without the loop in between.

        For less than what timers come late, the loop goes round until it is time.
        """
        due, priorities = record.due.tolist(), record.priorities.tolist()
        ring, size, late = self.observations, len(self.observations), late_ns()
        clock, told, burst = self.clock, self._told_ns(), self.burst
        begin = record.begin = clock()  # all that took its time was got ready before
        place, count = 0, len(due)
        while place < count:
            stop = min(count, place + burst)
            now = clock() - begin
            while place < stop and due[place] <= now:
                latest = begin + due[place] + told if told else 0
                now = flight.launch(place, ring[place % size], priorities[place], latest)
                place += 1
            if place < count:
                early = due[place] - now
                if early > late:
                    await asyncio.sleep((early - late) / 1e9)
                else:
                    await turn()


class _InFlight:
    """The requests of one run that have no answer yet, and the callers that wait for the answers.

    A caller is a task that makes one request after the other, and there are as many as requests were ever
    open at once: a task for each request would cost twice as much.
    """

    def __init__(
        self, target: Callable[[Any, int, int], Awaitable[Any]], record: Recording, clock: Callable[[], int]
    ) -> None:
        self._target = target
        self._record = record
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._callers: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[tuple[int, Awaitable[Any]]]] = []
        self._submitted: dict[int, asyncio.Future[Any]] = {}
        self._settled: asyncio.Future[None] | None = None
        self._stopped = False

    def launch(self, place: int, observation: Any, priority: int, latest: int) -> int:
        """Begin a request; gives the moment at which it was."""
        record = self._record
        record.started[place] = moment = self._clock() - record.begin
        try:
            answer = self._target(observation, priority, latest)
        except ServingError as error:
            record.raised(place, self._clock() - record.begin, error)
            return moment
        self._open += 1
        if isinstance(answer, asyncio.Future):
            self._submitted[place] = answer
            answer.add_done_callback(partial(self._ended, place))
        elif self._idle:
            self._idle.pop().set_result((place, answer))
        else:
            self._callers.append(self._loop.create_task(self._call(place, answer)))
        return moment

    async def settle(self, seconds: float) -> None:
        """Wait until all have ended, at most so long."""
        if self._open:
            self._settled = self._loop.create_future()
            await asyncio.wait([self._settled], timeout=seconds)

    async def give_up(self) -> None:
        """Cancel those that have not ended, and wait until they have."""
        self._stopped = True
        if self._callers or self._submitted:
            await asyncio.sleep(0)  # a caller cancelled before it began would leave a coroutine unawaited
            await _stop([*self._callers, *self._submitted.values()])

    async def _call(self, place: int, answer: Awaitable[Any]) -> None:
        while True:
            self._write(place, await _error_of(answer))
            if self._stopped:
                return
            idle: asyncio.Future[tuple[int, Awaitable[Any]]] = self._loop.create_future()
            self._idle.append(idle)
            place, answer = await idle

    def _ended(self, place: int, answer: asyncio.Future[Any]) -> None:
        del self._submitted[place]
        if answer.cancelled():
            if not self._stopped:
                self._write(place, asyncio.CancelledError())
        else:
            self._write(place, answer.exception())

    def _write(self, place: int, error: BaseException | None) -> None:
        moment = self._clock() - self._record.begin
        if error is None:
            self._record.answered(place, moment)
        else:
            self._record.raised(place, moment, error)
        self._open -= 1
        if not self._open and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)


async def _error_of(answer: Awaitable[Any]) -> BaseException | None:
    """What waiting for an answer raises, None where it comes."""
    try:
        await answer
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # it was the present task that was cancelled, and not what it waited for
        return error
    except Exception as error:  # noqa: BLE001 - whatever the target raises is its answer to this request
        return error
    return None


async def _stop(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel those that have not ended; raises MeasurementError for such as do not end for it."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        _, still = await asyncio.wait(left, timeout=STOPPING_S)
        if still:
            raise MeasurementError(
                f"{len(still)} requests went on for {STOPPING_S:g} s after they were cancelled: the target "
                f"must not swallow CancelledError"
            )
