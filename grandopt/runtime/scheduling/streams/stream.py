"""Answers to a stream of observations, in order, with a bounded number under way."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

from grandopt.errors import ConfigError, GrandoptError, InputError, ServingError
from grandopt.runtime.scheduling.call import deadline_of
from grandopt.runtime.scheduling.request import Priority, priority_of
from grandopt.runtime.scheduling.signal import Signal
from grandopt.runtime.scheduling.streams.source import END, Source, check_source, source_of

WhenSlow = Literal["block", "drop_oldest", "drop_newest"]
OnError = Literal["raise", "yield"]
Item = TypeVar("Item")
Result = TypeVar("Result")
Rank = Priority | int | str


@dataclass(frozen=True)
class StreamStats:
    """Counts since the beginning; `held` items are now under way, or answered and not yet handed over.

    `taken` items were read from the source. Of them, `delivered` were handed to the consumer, among them
    `failed` ones as errors, and `dropped` were not, since the consumer was slow.
    """

    taken: int
    delivered: int
    failed: int
    dropped: int
    held: int


class Stream(Generic[Item, Result]):
    """`async for result in stream`: the answer of `infer` to each item of `source`, in the source's order.

    At most `window` items are held at a time: under way, or answered and not yet taken by the consumer. When
    the window is full, the source is read no further ("block"). With the other two ways to deal with a
    consumer that is slow, reading goes on as long as answers wait for it: each new item drops the oldest
    answer, or is itself dropped without being computed. A consumer is slow that neither waits for an answer
    nor takes one while the event loop makes a turn; where the agent is the slow one, nothing is dropped.

    `infer` is called with an item, its priority and its deadline (nanoseconds of `clock`, 0 none) and gives
    an awaitable; a future spares a task. `priority` and `deadline_s`, which counts from the reading, are
    those of each request, or functions of the item. An error of a request is raised to the consumer in its
    place and ends the stream, or with `on_error="yield"` is given in the place of the answer. A source that
    raises ends the stream in the same way after the answers to its earlier items.

    A source is read on the event loop's thread; one that blocks needs `in_thread`, which reads it on a thread
    of its own. Whoever leaves the loop before its end (`break`, an error, cancellation) cancels what is under
    way, and closes the source if it can be closed; after `break` this happens in the loop's next turns, and
    with `contextlib.aclosing(stream)` at the end of that block. A stream can be iterated once.

    Raises ConfigError for a window or a choice that cannot be, and for a source that is no iterable.
    """

    def __init__(
        self,
        infer: Callable[[Item, int, int], Awaitable[Result]],
        source: Iterable[Item] | AsyncIterable[Item],
        *,
        window: int = 64,
        when_slow: WhenSlow = "block",
        on_error: OnError = "raise",
        priority: Rank | Callable[[Item], Rank] = Priority.NORMAL,
        deadline_s: float | Callable[[Item], float | None] | None = None,
        in_thread: bool = False,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ConfigError(f"the window of a stream must be a whole number from 1 on, got {window!r}")
        for name, value, choices in (("when_slow", when_slow, WhenSlow), ("on_error", on_error, OnError)):
            if value not in get_args(choices):
                raise ConfigError(f"{name} {value!r} is none of {', '.join(get_args(choices))}")
        check_source(source, in_thread)
        self._infer, self._items, self._in_thread = infer, source, in_thread
        self._window, self._when_slow, self._on_error = window, when_slow, on_error
        self._priority = priority if callable(priority) else priority_of(priority)
        if not callable(deadline_s):
            deadline_of(deadline_s, 0)
        self._deadline_s = deadline_s
        self._clock = clock
        self._results: weakref.ref[AsyncGenerator[Result | BaseException, None]] | None = None
        self._held: deque[asyncio.Future[Result]] = deque()
        self._room, self._news = Signal(), Signal()
        self._waits = False  # the consumer, for the first of those held
        self._taken = self._delivered = self._failed = self._dropped = 0

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        if self._results is not None:
            raise InputError("a stream can be iterated once; make another one")
        results = self._deliver()
        # Not held: whoever leaves the `async for` lets go of it, and the event loop closes it then.
        self._results = weakref.ref(results)
        return results

    async def aclose(self) -> None:
        """Cancel what is under way and close the source; not while somebody waits for the next answer."""
        results = None if self._results is None else self._results()
        if results is not None:
            await results.aclose()

    def stats(self) -> StreamStats:
        """What was done until now."""
        return StreamStats(self._taken, self._delivered, self._failed, self._dropped, len(self._held))

    # ---- the consumer's side ------------------------------------------------------------------------------

    async def _deliver(self) -> AsyncGenerator[Result | BaseException, None]:
        source = source_of(self._items, self._in_thread)
        reader = asyncio.get_running_loop().create_task(self._read(source))
        reader.add_done_callback(lambda _: self._news.wake())
        try:
            while True:
                if self._held:
                    future = await self._first()
                    error = _error_of(future)
                    self._delivered += 1
                    self._failed += error is not None
                    if error is not None and self._on_error == "raise":
                        raise error
                    yield future.result() if error is None else error
                elif reader.done():
                    reader.result()  # raises what the source did
                    return
                else:
                    await self._news.wait()
        finally:
            await self._end(reader, source)

    async def _first(self) -> asyncio.Future[Result]:
        """The first of those held, once it is done; it is not held any more."""
        while not self._held[0].done():
            self._waits = True
            try:
                await asyncio.wait((self._held[0],))
            finally:
                self._waits = False
        first = self._held.popleft()
        self._room.wake()
        return first

    async def _end(self, reader: asyncio.Task[None], source: Source) -> None:
        left: list[asyncio.Future[Any]] = [reader, *self._held]
        for future in left:
            future.cancel()
        await asyncio.wait(left)
        for future in left:
            _error_of(future)  # nobody else asks, and asyncio would complain
        self._held.clear()
        await source.close()

    # ---- the source's side --------------------------------------------------------------------------------

    async def _read(self, source: Source) -> None:
        blocks = self._when_slow == "block"
        while True:
            while blocks and len(self._held) >= self._window:
                await self._room.wait()
            item = await source.next()
            if item is END:
                return
            self._taken += 1
            if len(self._held) < self._window or await self._make_room():
                self._held.append(self._start(item))
                self._news.wake()

    async def _make_room(self) -> bool:
        """Wait until there is room, or drop an answer if the consumer is slow; whether there is room then."""
        while len(self._held) >= self._window:
            if not self._held[0].done():
                await asyncio.wait((self._held[0],))
            elif self._waits:
                await self._room.wait()
            elif await self._slow():
                self._dropped += 1
                if self._when_slow == "drop_newest":
                    return False
                _error_of(self._held.popleft())
        return True

    async def _slow(self) -> bool:
        """Whether the consumer takes nothing during one turn, although an answer is there."""
        delivered = self._delivered
        await asyncio.sleep(0)
        return delivered == self._delivered and not self._waits and len(self._held) >= self._window

    def _start(self, item: Item) -> asyncio.Future[Result]:
        try:
            priority = priority_of(self._priority(item)) if callable(self._priority) else self._priority
            seconds = self._deadline_s(item) if callable(self._deadline_s) else self._deadline_s
            deadline = deadline_of(seconds, self._clock())
            return asyncio.ensure_future(self._infer(item, priority, deadline))
        except GrandoptError as error:  # refused at once: the answer to this item
            refused: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused


def _error_of(future: asyncio.Future[Any]) -> BaseException | None:
    """Why a future that is done has no answer."""
    if future.cancelled():
        return ServingError("the request was cancelled before its answer")
    return future.exception()
