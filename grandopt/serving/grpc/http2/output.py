"""What a connection sends, within the windows that its client opens."""

from __future__ import annotations

import asyncio
import struct
from typing import Protocol

import numpy as np

from grandopt.serving.grpc.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEAD,
    HEADERS,
    LARGEST_WINDOW,
    SMALLEST_MAX_FRAME,
    Http2Error,
    frame,
)
from grandopt.serving.grpc.http2.incoming import PREFIX
from grandopt.serving.grpc.status import OK, RESPONSE
from grandopt.signature import Array

_BEGINNING = struct.Struct(f">5sI{len(RESPONSE)}sHBBBIBI")
"""The frame of the headers, and the beginning of that of the message."""
_MESSAGE = struct.Struct(">HBBBIBI")
_RESPONSE_HEAD = HEAD.pack(0, len(RESPONSE), HEADERS, END_HEADERS, 0)[:5]
_TRAILERS_HEAD = HEAD.pack(0, len(OK), HEADERS, END_HEADERS | END_STREAM, 0)[:5]


_MUCH = 1 << 16
"""Bytes that are not collected, but written."""


def widened(window: int, more: int) -> int:
    """A window after it was opened. Raises Http2Error if it is too far."""
    if window + more > LARGEST_WINDOW:
        raise Http2Error(FLOW_CONTROL_ERROR, "a window is opened too far")
    return window + more


class Sending(Protocol):
    """A call as its output sees it: how much its client takes now, and what of it waits."""

    id: int
    window: int
    unsent: bytearray

    def wait_for_client(self) -> None:
        """There is no room for what it has to say."""
        ...

    def resume(self) -> None:
        """There is room again."""
        ...


class Output:
    """Collects frames, none larger than every client takes; `flush` writes all of them at once."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.parts: list[bytes] = []
        self.window = DEFAULT_WINDOW
        self.first_window = DEFAULT_WINDOW
        """Of each new call."""
        self.paused = False
        """Whether the client does not read: messages wait with their calls then, whose number is bounded."""
        self.blocked: dict[Sending, None] = {}
        """Calls that have more to say, and wait for the window of all; in their turn."""
        self._transport = transport
        self._large = 0
        """Bytes of large messages that were collected."""
        self._later: asyncio.Handle | None = None

    def answer(self, stream: int, message: bytes) -> bool:
        """Send a whole answer with headers and trailers, if there is room for it."""
        size = len(message)
        whole = size + PREFIX
        if whole > self.window or whole > self.first_window or whole > SMALLEST_MAX_FRAME:
            return False
        if self.blocked or self.paused:
            return False
        self.window -= whole
        beginning = _BEGINNING.pack(
            _RESPONSE_HEAD, stream, RESPONSE, whole >> 8, whole & 255, DATA, 0, stream, 0, size
        )
        self.parts += (beginning, message, _TRAILERS_HEAD, stream.to_bytes(4, "big"), OK)
        return True

    def headers(self, stream: int, block: bytes, *, last: bool) -> None:
        """Send a block of headers, with which the call ends if they are the `last`."""
        self.parts.append(frame(HEADERS, END_HEADERS | (END_STREAM if last else 0), stream, block))

    def message(self, call: Sending, message: bytes) -> None:
        """Send a message of a call, or what there is room for."""
        size = len(message)
        whole = size + PREFIX
        fits = whole <= self.window and whole <= call.window and whole <= SMALLEST_MAX_FRAME
        if fits and not call.unsent and not self.paused:
            self.window -= whole
            call.window -= whole
            self.parts += (_MESSAGE.pack(whole >> 8, whole & 255, DATA, 0, call.id, 0, size), message)
            return
        call.unsent += struct.pack(">BI", 0, size)
        call.unsent += message
        self.send(call)

    def messages(self, call: Sending, messages: Array) -> None:
        """Send messages of one size [n, size], of bytes, as `message` does each."""
        count, size = messages.shape
        whole = size + PREFIX
        total = count * whole
        fits = total <= self.window and total <= call.window and whole <= SMALLEST_MAX_FRAME
        if not fits or call.unsent or self.paused:
            for one in messages:
                self.message(call, one.tobytes())
            return
        self.window -= total
        call.window -= total
        head = np.frombuffer(_MESSAGE.pack(whole >> 8, whole & 255, DATA, 0, call.id, 0, size), np.uint8)
        frames = np.empty((count, head.size + size), np.uint8)
        frames[:, : head.size] = head
        frames[:, head.size :] = messages
        self.parts.append(frames.tobytes())
        self._large += total
        if self._large >= _MUCH:
            self.flush()  # which tells whether the client reads

    def send(self, call: Sending) -> bool:
        """Send more of what a call has to say; whether that was all."""
        unsent = call.unsent
        at = 0
        while at < len(unsent) and not self.paused:
            size = min(len(unsent) - at, self.window, call.window, SMALLEST_MAX_FRAME)
            if size <= 0:
                break
            self.parts.append(frame(DATA, 0, call.id, bytes(unsent[at : at + size])))
            at += size
            self.window -= size
            call.window -= size
            self._large += size
            if self._large >= _MUCH:
                self.flush()  # which tells whether the client reads
        del unsent[:at]
        self.blocked.pop(call, None)
        if not unsent:
            return True
        if call.window > 0:
            self.blocked[call] = None
        call.wait_for_client()
        return False

    def opened(self, more: int) -> None:
        """The window of all is opened. Raises Http2Error if it is too far."""
        self.window = widened(self.window, more)
        while self.blocked and self.window > 0 and not self.paused:
            call = next(iter(self.blocked))
            del self.blocked[call]
            call.resume()

    def resume(self) -> None:
        """The client reads again."""
        self.paused = False
        self.opened(0)

    def flush(self) -> None:
        """Write all that was collected."""
        self._large = 0
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self.parts:
            data, self.parts = b"".join(self.parts), []
            if not self._transport.is_closing():
                self._transport.write(data)

    def flush_soon(self) -> None:
        """Write it when all that happens now has happened."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_soon(self.flush)
