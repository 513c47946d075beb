"""A connection without a network: a client that writes frames by hand, and the server's answers as frames."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from grandopt.serving.grpc.http2.connection import Connection
from grandopt.serving.grpc.http2.hpack import Decoder
from grandopt.serving.grpc.http2.methods import Asker, Method, Stream, Streamed, Unary
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.protocol.errors import Code, ProtocolError
from tests.serving.grpc.test_fuzz import PREFACE, frame, literal

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
OPEN_WINDOW = struct.pack(">HI", 4, 1 << 20)


class Frame(NamedTuple):
    """One that the server has sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Transport:
    """What the server writes to; reading is as the server says."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = self.reads_nothing = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reads_nothing = True

    def resume_reading(self) -> None:
        self.reads_nothing = False


class Echo:
    """Each message of a stream comes back."""

    def __init__(self, call: Stream) -> None:
        self.call = call

    @property
    def room(self) -> bool:
        return not self.call.blocked

    def message(self, data: bytes) -> None:
        self.call.write(data)

    def end(self) -> None:
        self.call.finish()

    def stop(self) -> None:
        self.call.finish(ProtocolError(Code.UNAVAILABLE, "stopped"))

    def gone(self) -> None: ...


def echo(data: bytes, asker: Asker, left_s: float | None) -> bytes:
    if data == b"refused":
        raise ProtocolError(Code.OVERLOADED, "100 % – full", 2.0)
    return data


def later(data: bytes, asker: Asker, left_s: float | None) -> asyncio.Future[bytes]:
    async def answer() -> bytes:
        await asyncio.sleep(float(data))
        return data

    return asyncio.ensure_future(answer())


def busy(data: bytes, asker: Asker, left_s: float | None) -> bytes:
    time.sleep(float(data))
    return data


class Busy(Echo):
    """Each message takes its time."""

    asked = 0

    def message(self, data: bytes) -> None:
        Busy.asked += 1
        self.call.write(busy(data, self.call.asker, None))


METHODS: dict[bytes, Method] = {
    b"/a/Echo": Unary(answer=echo, at_once=True),
    b"/a/Later": Unary(answer=later),
    b"/a/Stream": Streamed(answers=Echo),
    b"/a/Busy": Unary(answer=busy, at_once=True),
    b"/a/BusyStream": Streamed(answers=Busy),
}


class Client:
    """One connection to a service."""

    def __init__(self, service: Service, greeting: bytes = PREFACE + frame(SETTINGS, 0, 0, b"")) -> None:
        self.transport = Transport()
        self.connection = Connection(service)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.decoder = Decoder()
        self._seen = 0
        self.says(greeting)

    def says(self, *frames: bytes) -> None:
        self.connection.data_received(b"".join(frames))

    def hears(self) -> list[Frame]:
        """What the server has sent since the last look."""
        data, found = bytes(self.transport.written[self._seen :]), []
        at = 0
        while at < len(data):
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
            found.append(Frame(kind, flags, stream, data[at + 9 : end]))
            at = end
        assert at == len(data), "the server wrote a part of a frame"
        self._seen += at
        return found

    def status(self, stream: int, frames: list[Frame] | None = None) -> tuple[int, str]:
        """The status of a call, and its text."""
        said: dict[bytes, bytes] = {}
        for one in self.hears() if frames is None else frames:
            if one.kind == HEADERS and one.stream == stream:
                said |= dict(self.decoder.decode(one.payload, 1 << 20) or ())
        return int(said[b"grpc-status"]), said.get(b"grpc-message", b"").decode()

    def goaway(self) -> tuple[int, str] | None:
        """Why the server has ended the connection, if it has."""
        for one in self.hears():
            if one.kind == GOAWAY:
                assert self.transport.closed
                return int.from_bytes(one.payload[4:8], "big"), one.payload[8:].decode()
        assert not self.transport.closed
        return None

    def leaves(self) -> None:
        self.connection.connection_lost(None)


def head(call: str = "Echo", *more: tuple[str, str]) -> bytes:
    names = ((":path", f"/a/{call}"), (":authority", "x"), ("te", "trailers"))
    return b"\x83\x86" + b"".join(
        literal(*one) for one in (*names, ("content-type", "application/grpc"), *more)
    )


def message(data: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


def asked(stream: int, data: bytes = b"abc", call: str = "Echo", *more: tuple[str, str]) -> bytes:
    """A whole call of one request."""
    return frame(HEADERS, END_HEADERS, stream, head(call, *more)) + frame(
        DATA, END_STREAM, stream, message(data)
    )


def answers(frames: list[Frame], stream: int) -> bytes:
    """All that was said in data of a call."""
    return b"".join(one.payload for one in frames if one.kind == DATA and one.stream == stream)


def in_loop(body: Callable[[], Any]) -> None:
    """Run it, or the coroutine that it gives, in an event loop."""

    async def main() -> None:
        found = body()
        if found is not None:
            await found

    asyncio.run(main())


@contextmanager
def clean(service: Service) -> Iterator[None]:
    """At the end nothing is left of any call."""
    yield
    assert (service.calls, service.streams, service.receiving, service._waiting) == (0, 0, 0, {})


def made(clock: Callable[[], float] = lambda: 0.0, **options: Any) -> Service:
    """A service whose connections have all the time that they want, without another clock."""
    return Service(METHODS, GrpcOptions(**options), clock)
