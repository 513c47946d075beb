"""One call: its messages as they arrive, and its answers."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from grandopt.serving.grpc.http2.frames import CANCEL, WINDOW_UPDATE, number
from grandopt.serving.grpc.http2.head import Head
from grandopt.serving.grpc.http2.incoming import PREFIX, Incoming
from grandopt.serving.grpc.http2.methods import Answers, AnswersMany, Streamed, Unary
from grandopt.serving.grpc.http2.output import Output
from grandopt.serving.grpc.http2.reply import Reply
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.signature import Array


class Owner(Protocol):
    """All calls of its connection."""

    service: Service
    out: Output

    def ended(self, call: Call) -> None:
        """One is over."""
        ...

    def over(self) -> bool:
        """Whether this connection has had its turn of the event loop."""
        ...

    def postpone(self, call: Call) -> None:
        """Have a call take what there is when others had their turn."""
        ...


class Call(Reply):
    """Belongs to its connection's calls, until it is `done`."""

    def __init__(self, calls: Owner, stream: int, head: Head) -> None:
        super().__init__(calls.out, calls.service, stream)
        self.asker = head.asker
        self.ended = False
        """Whether the client has said all."""
        self.over = calls.over
        """Whether the turn of its connection is over: others wait."""
        self._calls = calls
        self._method = head.method
        self._waits = False
        """Whether there is a request for the connection's next turn."""
        self._incoming = Incoming(calls.service, head.encoding)
        self._work: asyncio.Future[Any] | None = None
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answers: Answers | None = None
        self._many: AnswersMany | None = None
        method = head.method
        self.lasting = isinstance(method, Streamed)
        """Whether it lasts as long as the client wants."""
        self._asks_many = isinstance(method, Streamed) and not method.asks_once
        if head.asker.timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + head.asker.timeout_s
            self._timer = loop.call_at(self._deadline, self._expire)

    def begin(self) -> None:
        """Take messages from now on."""
        method = self._method
        if isinstance(method, Streamed):
            answers = self._answers = method.answers(self)
            self._many = answers if isinstance(answers, AnswersMany) else None
        if not isinstance(method, Streamed) or method.asks_once:
            self._service.wait(self)

    def receive(self, payload: bytes, ended: bool) -> None:
        """More of its messages has come; `ended` says that it was the last of them. Raises StreamError."""
        incoming = self._incoming
        incoming.count(len(payload))
        if not self._is_open:
            self.ended = self.ended or ended  # it is answered already, and only that has to go out
        elif not ended and self._is_one(payload):
            self._take_one(payload)
        else:
            self.ended = self.ended or ended
            incoming.add(payload)
            self.take()

    @property
    def takes_many(self) -> bool:
        """Whether messages that came together may be answered together now."""
        many = self._many
        return many is not None and many.takes_many and self._is_open and not (self._waits or self.over())

    def receive_many(self, messages: Array, size: int) -> int:
        """Have the first of these messages [n, bytes] answered together, as far as that goes; returns how
        many those are. Each came whole, in a payload of this size."""
        many, incoming = self._many, self._incoming
        fitting = incoming.fitting(size)
        if many is None or fitting < len(messages):
            return 0  # the last of them comes too early: those before it are answered
        taken = many.messages(messages)
        incoming.count(taken * size)
        if incoming.is_half_used:
            self._grant()
        return taken

    def take(self) -> None:
        """Hand on what is whole, as far as there is room for it."""
        if not self._is_open:
            return
        self._waits = False
        try:
            if self._answers is None:
                self._take_request()
            else:
                self._take_messages(self._answers)
            if self._is_open:
                self._incoming.require_counted()
        except ProtocolError as error:
            self.finish(error)
        self._grant()

    def _is_one(self, payload: bytes) -> bool:
        """Whether it is one whole message of many, which is taken now."""
        now = self._asks_many and self._has_room and not self.over()
        return now and self._incoming.is_one(payload)

    def _take_one(self, payload: bytes) -> None:
        """A whole message, as what comes is nearly always."""
        assert self._answers is not None
        try:
            self._answers.message(payload[PREFIX:])
        except ProtocolError as error:
            self.finish(error)
        if self._incoming.is_half_used:
            self._grant()

    def _take_request(self) -> None:
        """Of a call of one request: all that the client says is that."""
        incoming = self._incoming
        size, whole = len(incoming), incoming.whole()
        if size > whole:
            raise ProtocolError(Code.INVALID, "the call has more than one request")
        if self.ended:
            if size < whole:
                raise ProtocolError(Code.INVALID, _cut_short(size))
            self._service.arrived(self)
            if self._may_answer():
                self.ask(incoming.message(whole))

    def _take_messages(self, answers: Answers) -> None:
        incoming = self._incoming
        while self._is_open and answers.room and len(incoming) >= (whole := incoming.whole()):
            self._service.arrived(self)
            if not self._may_answer():
                return
            if self.takes_many and (together := incoming.alike(whole)) is not None:
                taken = self._many.messages(together) if self._many is not None else 0
                incoming.took(taken * whole)
                if taken:
                    continue
            answers.message(incoming.message(whole))
        if self.ended and self._is_open and answers.room:
            if len(incoming):
                raise ProtocolError(Code.INVALID, _cut_short(len(incoming)))
            answers.end()

    def _may_answer(self) -> bool:
        """Whether a request may be answered now; else it is in the connection's next turn."""
        self._waits = self.over()
        if self._waits:
            self._calls.postpone(self)
        return not self._waits

    @property
    def _has_room(self) -> bool:
        return not self._waits and (self._answers is None or self._answers.room)

    def _grant(self) -> None:
        """Let the client send as much more as was taken."""
        if self._is_open and not self.ended and (more := self._incoming.granted(room=self._has_room)):
            self._out.parts.append(number(WINDOW_UPDATE, self.id, more))
            self._out.flush_soon()

    def ask(self, data: bytes) -> None:
        """The request is whole: have it answered. Raises ProtocolError."""
        method = self._method
        assert isinstance(method, Unary)
        self.answer(method.answer(data, self.asker, self.left_s))

    def answer(self, found: Any) -> None:
        """Send an answer, now or when it is there."""
        if isinstance(found, bytes):
            self.write(found)
            self.finish()
        else:
            self._work = found
            found.add_done_callback(self._answered)

    def _answered(self, work: asyncio.Future[Any]) -> None:
        if not self._is_open:
            if not work.cancelled():
                work.exception()  # seen: nobody waits for it any more
            return
        method = self._method
        assert isinstance(method, Unary)
        if work.cancelled():
            self.finish(ProtocolError(Code.UNAVAILABLE, "the request was given up", 1.0))
        elif (error := work.exception()) is not None:
            self.finish(refused(error))
        else:
            self.write(method.written(work.result()))
            self.finish()

    @property
    def left_s(self) -> float | None:
        """The seconds that it has left, if there is a deadline."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def late(self, limit_s: float) -> None:
        """The client took too long: for its request, or for taking its answer."""
        self._cut_off(f"the request did not come within {limit_s:g} s")

    def _expire(self) -> None:
        self._cut_off("the call's deadline is over")

    def _cut_off(self, why: str) -> None:
        if self.unsent:
            self.reset(CANCEL)  # there is no room for a status
        else:
            self.finish(ProtocolError(Code.LATE, why))

    def stop(self) -> None:
        """The server stops."""
        if self._answers is not None:
            self._answers.stop()

    def drop(self) -> None:
        """Nobody waits for it any more: what is under way is cancelled. Twice is allowed."""
        if self.done:
            return
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None and not self._work.done():
            self._work.cancel()
        self._incoming.drop()
        self.unsent.clear()
        self._calls.ended(self)
        if self._answers is not None:
            self._answers.gone()


def _cut_short(size: int) -> str:
    return "the call ended within a message" if size else "the call ended without a request"
