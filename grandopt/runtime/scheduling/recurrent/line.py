"""Calls that must run one after the other, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from grandopt.errors import DeadlineExceeded, Overloaded

Change = Callable[[], None]


class Line:
    """Who waits while one call is under way, and what is to be done between two calls.

    Whoever finds `busy` false sets it and runs; others `wait` until it is their turn. Each of them calls
    `next` at its end. It belongs to one event loop.
    """

    def __init__(self, limit: int) -> None:
        self.busy = False
        self._limit = limit
        self._calls = 0
        self._waiting: deque[asyncio.Future[None] | Change] = deque()

    async def wait(self, deadline: int, clock: Callable[[], int]) -> None:
        """Return when it is this caller's turn; it must call `next` then.

        Raises Overloaded where `limit` calls wait, DeadlineExceeded when `deadline` (nanoseconds of `clock`,
        0 none) comes before the turn, and the error of `refuse`. A caller that is cancelled loses its place.
        """
        if self._calls >= self._limit:
            raise Overloaded(
                f"{self._calls} calls of this session wait already; a session runs one at a time", 0.0
            )
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        self._calls += 1
        timer = loop.call_later(max(0, deadline - clock()) / 1e9, _late, turn) if deadline else None
        try:
            await turn
        except (asyncio.CancelledError, DeadlineExceeded):
            if turn.cancelled() or turn.exception() is not None:
                with suppress(ValueError):  # not there where others were refused together with it
                    self._waiting.remove(turn)
            else:
                self.next()  # cancelled just after its turn had come
            raise
        finally:
            self._calls -= 1
            if timer is not None:
                timer.cancel()

    def add(self, change: Change) -> None:
        """Have `change` done when all who wait now have had their turn."""
        self._waiting.append(change)

    def next(self) -> None:
        """Give the turn to the next one; nobody is `busy` any more where there is none."""
        while self._waiting:
            first = self._waiting.popleft()
            if not isinstance(first, asyncio.Future):
                first()
            elif not first.done():
                first.set_result(None)
                return
        self.busy = False

    def refuse(self, error: Callable[[], Exception]) -> None:
        """End the waiting of all, each with an `error` of its own."""
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if isinstance(one, asyncio.Future) and not one.done():
                one.set_exception(error())


def _late(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(DeadlineExceeded("the deadline passed while earlier calls of the session ran"))
