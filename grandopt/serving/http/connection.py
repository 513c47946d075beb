"""One connection: requests as they arrive, in pieces of any size."""

from __future__ import annotations

import asyncio
from typing import Literal

from grandopt.serving.addresses import is_local
from grandopt.serving.http.answers import refusal
from grandopt.serving.http.chunked import ChunkedBody
from grandopt.serving.http.head import CHUNKED
from grandopt.serving.http.service import Call, Service
from grandopt.serving.http.turns import Turns
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import HttpResponse

_SKIPPED = 1 << 16
"""Bytes of the body of a refused request that are read, so that the connection can go on after it."""
_LINGER_S = 2.0
"""How long a client gets to read the last answer, while what it still sends is let in unread."""
TURN_S = 0.005
"""How long a connection computes before the event loop sees what else there is: a client that asks an agent
which takes its time, again and again without waiting for it, holds up nobody for longer."""
Waiting = Literal["idle", "head", "body", "write", "end"]
_OF_READING: tuple[Waiting, ...] = ("idle", "head", "body")


class Connection(asyncio.Protocol):
    """Belongs to the event loop.

    At `deadline` (the service's time) the tick calls `expire`. `local` says whether callers are on this
    machine; without it their address does.
    """

    def __init__(self, service: Service, local: bool | None = None) -> None:
        self.service = service
        self.deadline = 0.0
        self._waiting: Waiting = "idle"
        self._limits = service.limits
        self._local = local
        self._transport: asyncio.Transport
        self._turns: Turns
        self._carry = b""
        self._call: Call | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        self._taken = 0
        self._chunks: ChunkedBody | None = None
        self._held = self._paused = self._resuming = self._ended = self._gone = False
        self._until = 0.0
        """When its turn of the event loop is over."""
        self._last = False
        """Whether the last answer is known: nothing more is read, whatever it looks like."""

    # ---- what the transport says --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._turns = Turns(self.service, self._transport, self._moved, self._end)
        if self._local is None:
            self._local = is_local(transport)
        full = len(self.service.connections) >= self._limits.connections
        self.service.connections.add(self)
        self._wait("head", self._limits.header_s)
        if full:
            text = f"{self._limits.connections} connections are open, which is the limit"
            self._end_with(refusal(ProtocolError(Code.OVERLOADED, text, 1.0)))

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._drop_body()
        self._turns.drop()
        self.service.connections.discard(self)

    def eof_received(self) -> bool:
        """Whether the transport stays open. The client has gone, or sends nothing more and still reads: that
        is the same to see. So what is answered soon is still sent, and the rest given up."""
        if self._ended or not self._turns.end_with_these():
            return False
        self._wait("end", self._limits.gone_s)
        self._gone = True
        return True

    def pause_writing(self) -> None:
        self._turns.writable.clear()
        self._wait("write", self._limits.write_s)

    def resume_writing(self) -> None:
        self._turns.writable.set()
        if self._call is not None:
            self._wait("body", self._limits.body_s)
        else:
            self._wait("idle", self._limits.idle_s)
        self._moved()

    def data_received(self, data: bytes) -> None:
        if self._ended or self._last:
            return
        if self._carry:
            data, self._carry = self._carry + data, b""
        self._until = self.service.clock() + TURN_S
        try:
            self._read(data)
        except ProtocolError as error:  # where the next request begins cannot be told any more
            self._drop_body()
            self._end_with(refusal(error))
        self._turns.flush()

    # ---- how long it may take -----------------------------------------------------------------------------

    def expire(self) -> None:
        """The deadline has passed: say what took too long if a request had begun, and close."""
        if self._waiting == "idle" and len(self._turns):
            self._wait("idle", self._limits.idle_s)  # it is the server that takes its time
        elif self._waiting in ("head", "body") and (self._carry or self._call is not None):
            limit = self._limits.header_s if self._waiting == "head" else self._limits.body_s
            what = "headers" if self._waiting == "head" else "body"
            self._drop_body()
            self._carry = b""
            self._wait("idle", self._limits.idle_s)  # until what was asked before is answered
            self._end_with(refusal(ProtocolError(Code.SLOW, f"the {what} took longer than {limit:g} s")))
            self._turns.flush()
        elif self._waiting == "write":
            self._transport.abort()
        else:
            self._transport.close()
            # What was written is still being sent, which a client that does not read would hold up for ever.
            self._waiting, self.deadline = "write", self.service.now + self._limits.write_s

    def stop(self) -> None:
        """No request comes any more: end streams of events, and an idle connection."""
        self._turns.stop()
        if not len(self._turns) and self._waiting == "idle":
            self.close()

    def close(self) -> None:
        """Close it once what was written has been sent."""
        self._ended = True
        self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._ended = True
        self._transport.abort()

    def _wait(self, what: Waiting, seconds: float) -> None:
        if self._ended or self._gone:
            return
        if what in _OF_READING and not self._turns.writable.is_set():
            return  # a client that does not read has until the deadline of that, whatever it sends meanwhile
        self._waiting, self.deadline = what, self.service.now + seconds

    def _end_with(self, response: HttpResponse, call: Call | None = None) -> None:
        """Answer what was asked before, then this, and no more."""
        self._last = True
        self._turns.end(response, call)

    def _end(self) -> None:
        """The last answer has been written. What the client still sends is let in unread for a moment:
        closing at once would take the answer from it."""
        self._wait("end", _LINGER_S)
        self._ended = True
        self._drop_body()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # ---- reading ------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        place, size, limits = 0, len(data), self._limits
        while place < size and not (self._ended or self._last):
            if self._call is not None:
                place = self._body(data, place)
                continue
            if len(self._turns) >= limits.pipelined or not self._turns.writable.is_set():
                self._hold(data[place:])
                return
            if place and self.service.clock() > self._until:
                self._hold(data[place:])
                self._resume_soon()
                return
            if data.startswith(b"\r\n", place):  # some clients send it after a body
                place += 2
                continue
            end = data.find(b"\r\n\r\n", place) + 4
            if end == 3:
                self._begin_head(data[place:])
                return
            if end - place > limits.header_bytes:
                raise ProtocolError(Code.HEADERS, f"the headers have more than {limits.header_bytes} bytes")
            call = self.service.call(data[place:end], self._local is True)
            place, length = end, call.head.length
            if 0 <= length <= size - place:
                body = data[place : place + length]
                place += length
                self._waiting, self.deadline = "idle", self.service.now + limits.idle_s
                self._turns.ask(call, body)
            else:
                self._begin_body(call)

    def _begin_head(self, rest: bytes) -> None:
        """The beginning of a head, if it is one: what cannot become one is not waited for."""
        if len(rest) > self._limits.header_bytes:
            raise ProtocolError(Code.HEADERS, f"the headers have more than {self._limits.header_bytes} bytes")
        if rest != b"\r" and (not rest[:1].isupper() or b"\n\n" in rest or b"\0" in rest):
            raise ProtocolError(Code.INVALID, "not an HTTP request")
        self._carry = rest
        if self._waiting != "head":
            self._wait("head", self._limits.header_s)

    def _begin_body(self, call: Call) -> None:
        """A body that is not here yet."""
        head = call.head
        if call.refusal is not None and not 0 <= head.length <= _SKIPPED:
            self._end_with(call.refusal, call)
            return
        if head.length == CHUNKED:
            self._chunks = ChunkedBody(self._limits)
        self._call, self._missing = call, max(head.length, 0)
        self.service.bodies += 1
        self._wait("body", self._limits.body_s)
        if head.expects and not head.old:
            self._turns.proceed()

    def _receive(self, size: int) -> None:
        """So many bytes more have come, and are kept until the body is whole."""
        self._taken += size
        self.service.receiving += size
        if self.service.receiving > self._limits.bodies_bytes:
            text = f"bodies of {self._limits.bodies_bytes} bytes are being received, which is the limit"
            raise ProtocolError(Code.OVERLOADED, text, 1.0)

    def _body(self, data: bytes, place: int) -> int:
        """More of a body; returns where it ends in `data`."""
        call, chunks = self._call, self._chunks
        assert call is not None
        if chunks is not None:
            before = chunks.size
            rest = chunks.feed(data[place:])
            self._receive(chunks.size - before)
            if rest is None:
                return len(data)
            place, body = len(data) - len(rest), b"".join(chunks.parts)
        else:
            part = data[place : place + self._missing]
            self._parts.append(part)
            self._receive(len(part))
            self._missing -= len(part)
            place += len(part)
            if self._missing:
                return place
            body = b"".join(self._parts)
        self._drop_body()
        self._wait("idle", self._limits.idle_s)
        self._turns.ask(call, body)
        return place

    def _drop_body(self) -> None:
        self.service.receiving -= self._taken
        self._taken = 0
        self.service.bodies -= self._call is not None
        self._call, self._chunks, self._parts, self._missing = None, None, [], 0

    def _hold(self, rest: bytes) -> None:
        """Read no more until answers have gone out."""
        self._carry, self._held = rest, True
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _moved(self) -> None:
        """Answers have gone out: go on where reading was held."""
        if self._held and not self._ended and self._turns.writable.is_set():
            self._resume_soon()

    def _resume_soon(self) -> None:
        """Go on when others had their turn."""
        if not self._resuming:
            self._resuming = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """Read what was held, and then what comes: a client that sends no more is told so by an end of it,
        which must not overtake the requests before."""
        self._resuming = self._held = False
        self.data_received(b"")
        if not (self._held or self._ended):
            self._paused = False
            self._transport.resume_reading()
