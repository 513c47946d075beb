"""What of a stream is not written yet: read ahead of the answers, and written in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.protocol.messages import InferResponse


class Asked(NamedTuple):
    """A request of a stream: its answer, as far as it is known, and how it is to be written."""

    id: str
    answer: InferResponse | ProtocolError | asyncio.Future[InferResponse]
    marks_final: bool = False

    def give_up(self) -> None:
        """Nobody wants the answer any more."""
        if isinstance(self.answer, asyncio.Future):
            self.answer.cancel()


Write = Callable[[Asked], Awaitable[ProtocolError | None]]


class Backlog:
    """At most `window` requests between whoever reads them and whoever writes their answers.

    Both at a time: gRPC hands on one message in each direction per turn of the event loop, and a stream that
    reads only when it has written takes two turns for each.
    """

    def __init__(self, window: int) -> None:
        self._queue: deque[Asked] = deque()
        self._window = window
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        """What each waits for, while it does."""

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read before something was written."""
        return len(self._queue) >= self._window

    def put(self, one: Asked) -> None:
        """Have it written in its turn."""
        self._queue.append(one)
        _wake(self._writer)

    async def room(self) -> None:
        """Wait until it is full no longer."""
        while self.is_full:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def end(self) -> None:
        """Nothing more will be put."""
        self._ended = True
        _wake(self._writer)

    async def written(self, write: Write) -> ProtocolError | None:
        """Write all in order by `write`, to the end, or to the first refusal that it gives: that one."""
        while True:
            while self._queue:
                refusal = await write(self._queue[0])
                if refusal is not None:
                    return refusal
                self._queue.popleft()
                _wake(self._reader)
            if self._ended:
                return None
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def give_up(self) -> None:
        """What is under way is cancelled."""
        while self._queue:
            self._queue.popleft().give_up()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
