"""The answers of one connection, in the order in which they were asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from grandopt.serving.http import answers
from grandopt.serving.http.answers import head_of, refusal
from grandopt.serving.http.service import Call, Service, failed, worth_coding
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import EventStream, HttpResponse

EVENTS = "text/event-stream"
_LOOK_S = 0.05
"""How often a stream of events looks whether the answers before it are out."""


class Turn:
    """The place of one answer; `call` is None for what is no answer to a request that was understood."""

    __slots__ = ("answer", "call", "last", "task")

    def __init__(self, call: Call | None, last: bool) -> None:
        self.call = call
        self.last = last
        """Whether the connection ends with it."""
        self.answer: bytes | None = None
        self.task: asyncio.Future[Any] | None = None


class Turns:
    """Asks the service, and writes each answer once those before it are written.

    `moved` is called when answers went out that others had waited for, `ended` when the last one did.
    `writable` is clear while the client does not read.
    """

    def __init__(
        self,
        service: Service,
        transport: asyncio.WriteTransport,
        moved: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self._service = service
        self._transport = transport
        self._moved, self._ended = moved, ended
        self._turns: deque[Turn] = deque()
        self._out: list[bytes] = []
        self._streams: set[asyncio.Future[Any]] = set()
        self._over = False

    def __len__(self) -> int:
        return len(self._turns)

    def ask(self, call: Call, body: bytes) -> None:
        """One whole request; its answer is written by `flush`, or later."""
        service = self._service
        answer: bytes | HttpResponse | Awaitable[HttpResponse | EventStream]
        if call.refusal is not None:
            answer = call.refusal
        elif service.open >= service.limits.in_flight:
            text = f"{service.limits.in_flight} requests are open, which is the limit"
            answer = refusal(ProtocolError(Code.OVERLOADED, text, 1.0))
        elif call.model is not None:
            answer = service.infer(call, body)
            if type(answer) is bytes and call.head.lasting and not self._turns and service.ready:
                self._out.append(answers.OK)
                self._out.append(answer)
                return
        else:
            answer = service.page(call, body)
        turn = Turn(call, not call.head.keep_alive or not service.ready)
        self._append(turn)
        if type(answer) is bytes:
            turn.answer = answers.OK + _connection(turn) + answer
            self._pop()
        elif isinstance(answer, HttpResponse):
            self._answered(turn, answer)
        else:
            turn.task = asyncio.ensure_future(answer)  # type: ignore[arg-type]
            turn.task.add_done_callback(partial(self._finished, turn))

    def end(self, response: HttpResponse, call: Call | None = None) -> None:
        """The last answer: what was asked before it is still answered."""
        turn = Turn(call, True)
        self._append(turn)
        self._answered(turn, response)

    def proceed(self) -> None:
        """Tell the client that it may send the body of its request."""
        turn = Turn(None, False)
        turn.answer = answers.CONTINUE
        self._append(turn)
        self._pop()

    def end_with_these(self) -> bool:
        """No more requests come; whether answers are still open."""
        if self._turns:
            self._turns[-1].last = True
        return bool(self._turns)

    def flush(self) -> None:
        """Write all answers whose turn it was, together."""
        out = self._out
        if out:
            self._out = []
            if not self._transport.is_closing():
                self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def drop(self) -> None:
        """The client has gone: what it waits for is cancelled."""
        turns, self._turns, self._over, self._out = self._turns, deque(), True, []
        self._service.open -= len(turns)
        for turn in turns:
            if turn.task is not None:
                turn.task.cancel()
        self.writable.set()

    def stop(self) -> None:
        """End streams of events."""
        for stream in list(self._streams):
            stream.cancel()

    def _broken(self, task: asyncio.Future[Any]) -> None:
        """An answer is on its way, or a stream of events over: one that failed cannot say so any more."""
        self._streams.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._over:
            self._transport.abort()

    def _append(self, turn: Turn) -> None:
        self._service.open += 1
        self._turns.append(turn)

    def _finished(self, turn: Turn, task: asyncio.Future[Any]) -> None:
        """A turn's answer is there, or its events begin."""
        if task.cancelled():
            if self._over:
                return
            answer: Any = refusal(ProtocolError(Code.UNAVAILABLE, "the request was given up"))
        else:
            error = task.exception()
            answer = task.result() if error is None else failed(error)
        if self._over:
            return
        if isinstance(answer, EventStream):
            turn.task = asyncio.ensure_future(self._events(turn, answer))
            turn.task.add_done_callback(self._broken)
            self._streams.add(turn.task)
            return
        self._answered(turn, answer)
        self.flush()

    def _answered(self, turn: Turn, response: HttpResponse) -> None:
        call = turn.call
        if call is not None and worth_coding(response, call.head.accepts):
            turn.task = asyncio.ensure_future(self._coded(turn, response, call.head.accepts))
            turn.task.add_done_callback(self._broken)
        else:
            self._put(turn, response, "")

    async def _coded(self, turn: Turn, response: HttpResponse, accepts: str) -> None:
        self._put(turn, await self._service.coded(response, accepts), accepts)
        self.flush()

    def _put(self, turn: Turn, response: HttpResponse, coding: str) -> None:
        turn.answer = head_of(response, connection=_connection(turn), coding=coding)
        if turn.call is None or turn.call.head.method != "HEAD":
            turn.answer += response.body
        self._pop()

    def _pop(self) -> None:
        turns, moved = self._turns, False
        while turns and turns[0].answer is not None and not self._over:
            turn = turns.popleft()
            self._service.open -= 1
            assert turn.answer is not None
            self._out.append(turn.answer)
            moved = True
            if turn.last:
                self.flush()
                self.drop()
                self._ended()
                return
        if moved:
            self._moved()

    async def _events(self, turn: Turn, stream: EventStream) -> None:
        """Send events as they come, in chunks, once it is their turn."""
        assert turn.call is not None
        chunked = not turn.call.head.old
        turn.last = turn.last or not chunked
        try:
            while self._turns[0] is not turn:
                await asyncio.sleep(_LOOK_S)
            extra = (("Transfer-Encoding", "chunked"),) if chunked else ()
            begun = HttpResponse(200, b"", EVENTS, (*stream.headers, *extra))
            self._transport.write(head_of(begun, connection=_connection(turn), length=-1))
            async for event in stream.events:
                await self.writable.wait()
                if event:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(event), event) if chunked else event)
        except asyncio.CancelledError:
            if self._over:
                raise
            turn.last = True  # the server stops
        finally:
            await _closed(stream)
        turn.answer = b"0\r\n\r\n" if chunked else b""
        self._pop()
        self.flush()


async def _closed(stream: EventStream) -> None:
    """Let an iterator of events give back what it holds."""
    close = getattr(stream.events, "aclose", None)
    if close is not None:
        await close()


def _connection(turn: Turn) -> bytes:
    """The header that says what becomes of the connection, where that is not what one expects."""
    if turn.last:
        return answers.CLOSE
    return answers.KEEP if turn.call is not None and turn.call.head.old else b""
