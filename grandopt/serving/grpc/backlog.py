"""What of a stream has to wait: an answer that is not there yet, and all those behind it."""

from __future__ import annotations

import asyncio
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
    """At most `window` of them, written in order by `write`, which gives the refusal that ends the stream.

    While it `is_empty`, whoever has an answer writes it himself: a task and a queue cost as much as the rest.
    """

    def __init__(self, window: int, write: Write) -> None:
        self._queue: asyncio.Queue[Asked | None] = asyncio.Queue(window)
        self._write = write
        self._writer: asyncio.Future[None] | None = None
        self._waiting = 0
        self.refusal: ProtocolError | None = None
        """Why the stream ends; what comes later is given up."""

    @property
    def is_empty(self) -> bool:
        return self._waiting == 0

    async def put(self, one: Asked) -> None:
        """Have it written in its turn; waits while the window is full."""
        if self._writer is None:
            self._writer = asyncio.ensure_future(self._run())
        self._waiting += 1
        await self._queue.put(one)

    async def end(self) -> None:
        """Wait until all is written."""
        if self._writer is not None:
            await self._queue.put(None)
            await self._writer

    def give_up(self) -> None:
        """Write nothing more; what is under way is cancelled."""
        if self._writer is not None:
            self._writer.cancel()
        while not self._queue.empty():
            one = self._queue.get_nowait()
            if one is not None:
                one.give_up()

    async def _run(self) -> None:
        while (one := await self._queue.get()) is not None:
            if self.refusal is not None:
                one.give_up()
                continue
            try:
                self.refusal = await self._write(one)
            except asyncio.CancelledError:
                one.give_up()
                raise
            self._waiting -= 1
