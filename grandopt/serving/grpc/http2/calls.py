"""The calls of one connection, from their headers until they are over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grandopt.serving.grpc.http2.alike import alike
from grandopt.serving.grpc.http2.call import Call
from grandopt.serving.grpc.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEAD,
    HEAD_BYTES,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SMALLEST_MAX_FRAME,
    STREAM_BITS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Http2Error,
    StreamError,
    number,
)
from grandopt.serving.grpc.http2.head import Head, Heads
from grandopt.serving.grpc.http2.incoming import PREFIX
from grandopt.serving.grpc.http2.methods import Unary
from grandopt.serving.grpc.http2.output import Output
from grandopt.serving.grpc.http2.patience import Patience
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.grpc.status import RESPONSE, trailers
from grandopt.serving.protocol.errors import ProtocolError

TURN_S = 0.005
"""How long a connection computes before the event loop sees what else there is: other clients, and that a
call is given up whose requests wait here."""
REFUSAL_S = 0.02
"""How long a refusal waits for the first that its client says: some take an end before that for a failure."""
_unpack = HEAD.unpack_from


class Calls:
    """Belongs to a connection, which hands on frames; `idle` is called when no call is open any more.

    `open` are those under way by their streams, `last` is the highest stream that there was, and `block` what
    there is of headers that go on in the next frame: with their stream and flags.
    """

    def __init__(
        self, service: Service, out: Output, heads: Heads, patience: Patience, idle: Callable[[], None]
    ) -> None:
        self.service, self.out = service, out
        self.open: dict[int, Call] = {}
        self.last = 0
        self.block: tuple[int, int, bytearray] | None = None
        self._options, self._heads, self._patience, self._idle = service.options, heads, patience, idle
        self._taken = 0
        """Bytes of messages since the client was last told to go on."""
        self._clock, self._until = service.clock, 0.0
        self._postponed: dict[Call, None] = {}
        """Calls whose requests are answered when others had their turn."""
        self._refused: dict[int, bytes] = {}
        self._refusing: asyncio.TimerHandle | None = None

    def over(self) -> bool:
        """Whether this connection has had its turn of the event loop."""
        return self._clock() > self._until

    def begin_turn(self) -> None:
        """Its turn begins."""
        self._until = self._clock() + TURN_S

    def postpone(self, call: Call) -> None:
        """Have a call take what there is when others had their turn."""
        if not self._postponed:
            asyncio.get_running_loop().call_soon(self._go_on)
        self._postponed[call] = None

    def _go_on(self) -> None:
        self.begin_turn()
        calls, self._postponed = self._postponed, {}
        for call in calls:
            call.take()
        self.out.flush()

    def stop(self) -> None:
        """The server stops."""
        for call in list(self.open.values()):
            call.stop()

    def drop(self) -> None:
        """Nobody waits for any answer."""
        self.refuse_all()
        for call in list(self.open.values()):
            call.drop()

    def give_up(self, stream: int) -> None:
        """The client does not want the answer of a call any more."""
        call, refused = self.open.get(stream), self._refused.pop(stream, None)
        if call is not None:
            call.drop()
        if call is not None or refused is not None:
            self._patience.idle(self.last)

    def ended(self, call: Call) -> None:
        """A call is over."""
        service = self.service
        if self.open.pop(call.id, None) is not None:
            service.calls -= 1
            service.streams -= call.lasting
        service.arrived(call)
        self._postponed.pop(call, None)
        self.out.blocked.pop(call, None)
        if not self.open:
            self._idle()

    def quick(self, data: bytes, at: int, stream: int, head: Head) -> int:
        """Answer a call whose one message stands at `at`; returns where that ends, or `at` if none does."""
        start = at + HEAD_BYTES
        begin = start + PREFIX
        if len(data) < begin:
            return at
        high, low, kind, flags, of = _unpack(data, at)
        length: int = high << 8 | low
        end = start + length
        if (
            kind != DATA
            or flags != END_STREAM
            or of != stream
            or end > len(data)
            or data[start]
            or int.from_bytes(data[start + 1 : begin], "big") != length - PREFIX
            or length > SMALLEST_MAX_FRAME
            or length > self._options.max_message_bytes
            or not self.last < stream <= STREAM_BITS
            or not stream & 1
            or len(self.open) >= self._options.max_calls_per_connection
            or not self.service.has_room
            or self.over()
        ):
            return at
        self.last = stream
        self.count(length)
        asker, method = head.asker, head.method
        assert isinstance(method, Unary)
        try:
            found = method.answer(data[begin:end], asker, asker.timeout_s)
        except ProtocolError as error:
            self.out.headers(stream, RESPONSE + trailers(error), last=True)
            return end
        if type(found) is not bytes or not self.out.answer(stream, found):
            call = self._begun(stream, head)
            call.ended = True
            call.answer(found)
        return end

    def data(self, call: Call, payload: bytes, ended: bool) -> None:
        """More of a call's messages, of which these are the last if it has `ended`."""
        self.count(len(payload))
        try:
            if call.ended:
                raise StreamError(STREAM_CLOSED, "a call goes on after its end")
            call.receive(payload, ended)
        except StreamError as error:
            call.reset(error.code)

    def many(self, call: Call, data: bytes, at: int, end: int) -> int:
        """Have a call take whole messages together that came in frames, one each, of which the first stands
        from `at` to `end`; returns where those end that it took: `at` for none."""
        length = end - at - HEAD_BYTES
        start = at + HEAD_BYTES
        # Not compressed, and as long as its frame.
        if data[start] or int.from_bytes(data[start + 1 : start + PREFIX], "big") != length - PREFIX:
            return at
        frames = alike(data, at, end - at, HEAD_BYTES + PREFIX)
        taken = call.receive_many(frames[:, HEAD_BYTES + PREFIX :], length)
        self.count(taken * length)
        return at + taken * (end - at)

    def count(self, size: int) -> None:
        """So much was used of the window of all calls; each has one of its own that holds it up."""
        self._taken += size
        if self._taken >= self._options.connection_window // 2:
            self.out.parts.append(number(WINDOW_UPDATE, 0, self._taken))
            self._taken = 0

    def headers(self, stream: int, flags: int, block: bytearray) -> None:
        """Headers as far as they have come: they open a call, or end what its client says."""
        if len(block) > 2 * self._options.max_metadata_bytes:
            raise Http2Error(ENHANCE_YOUR_CALM, f"headers of {len(block)} bytes, and more")
        if not stream & 1:
            raise Http2Error(PROTOCOL_ERROR, f"call {stream}: clients take odd numbers")
        if not flags & END_HEADERS:
            self.block = stream, flags, block
            return
        self.block = None
        if stream <= self.last:
            self._heads.skip(bytes(block))
            call = self.open.get(stream)
            if call is not None:  # trailers, of which gRPC's clients have none to say
                self.data(call, b"", ended=True)
            return
        self.last = stream
        try:
            head = self._heads.read(bytes(block))
        except StreamError as error:
            self._refuse(stream, error.code)
            return
        self._begin(stream, head, ended=bool(flags & END_STREAM))

    def _begin(self, stream: int, head: Head, *, ended: bool) -> None:
        service = self.service
        if service.stopping or len(self.open) >= self._options.max_calls_per_connection:
            self._refuse(stream, REFUSED_STREAM)  # which says that it may be asked again
            return
        block = head.refused or service.full(head.method)
        if block is not None:
            if ended:
                self.out.headers(stream, block, last=True)
            else:
                self._refuse_soon(stream, block)
            return
        call = self._begun(stream, head)
        call.begin()
        if ended:
            self.data(call, b"", ended=True)

    def _refuse_soon(self, stream: int, block: bytes) -> None:
        self._refused[stream] = block
        if len(self._refused) > self._options.max_calls_per_connection:
            self.refuse_all()
        elif self._refusing is None:
            self._refusing = asyncio.get_running_loop().call_later(REFUSAL_S, self.refuse_all)

    def refuse(self, stream: int) -> None:
        """Say that a call is refused, if it is: its client has begun to speak."""
        block = self._refused.pop(stream, None)
        if block is not None:
            # No reset tells it to stop sending: some clients take that for the answer.
            self.out.headers(stream, block, last=True)

    def refuse_all(self) -> None:
        """Say it to all that are."""
        if self._refusing is not None:
            self._refusing.cancel()
            self._refusing = None
        for stream in list(self._refused):
            self.refuse(stream)
        self.out.flush_soon()

    def _begun(self, stream: int, head: Head) -> Call:
        call = self.open[stream] = Call(self, stream, head)
        self.service.calls += 1
        self.service.streams += call.lasting
        return call

    def _refuse(self, stream: int, code: int) -> None:
        self._patience.idle(self.last)
        self.out.parts.append(number(RST_STREAM, stream, code))
