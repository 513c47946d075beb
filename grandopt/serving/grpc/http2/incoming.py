"""What a client has sent of one call: messages, whole or not, and how much more it may send."""

from __future__ import annotations

from grandopt.serving.grpc.http2.alike import alike
from grandopt.serving.grpc.http2.compression import inflated
from grandopt.serving.grpc.http2.frames import FLOW_CONTROL_ERROR, StreamError
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.signature import Array

PREFIX = 5
"""Bytes before each message: whether it is compressed, and how long it is."""
MOST_TOGETHER = 256
"""Messages that are looked at together, if they come in frames that do not end with each."""


class Incoming:
    """Of one call, whose messages are compressed by `encoding` where they say so."""

    def __init__(self, service: Service, encoding: str) -> None:
        self._service, self._encoding = service, encoding
        self._longest, self._window = service.options.max_message_bytes, service.options.call_window
        self._buffer = bytearray()
        self._counted = 0
        """Of those bytes, how many the service knows of."""
        self._received, self._granted = 0, self._window

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def is_half_used(self) -> bool:
        """Whether it is time to let the client send more."""
        return self._granted - self._received <= self._window // 2

    def count(self, size: int) -> None:
        """So many bytes have come. Raises StreamError for more than there may be."""
        self._received += size
        if self._received > self._granted:
            raise StreamError(FLOW_CONTROL_ERROR, "a call has sent more than its window")

    def add(self, payload: bytes) -> None:
        """Keep them."""
        self._buffer += payload

    def is_one(self, payload: bytes) -> bool:
        """Whether a payload is one whole message, as it is, and the next."""
        size = len(payload) - PREFIX
        return (
            not self._buffer
            and 0 <= size <= self._longest
            and not payload[0]
            and int.from_bytes(payload[1:PREFIX], "big") == size
        )

    def fitting(self, size: int) -> int:
        """How many payloads of this size may come now, if each is a whole message."""
        if self._buffer or size - PREFIX > self._longest:
            return 0
        return (self._granted - self._received) // size

    def alike(self, whole: int) -> Array | None:
        """The first messages, if three or more of `whole` bytes with what stands before them, and as they
        are, follow each other; they stay."""
        buffer = self._buffer
        if len(buffer) < 3 * whole or buffer[0] or buffer[whole : whole + PREFIX] != buffer[:PREFIX]:
            return None
        return alike(bytes(buffer[: MOST_TOGETHER * whole]), 0, whole, PREFIX)[:, PREFIX:]

    def took(self, size: int) -> None:
        """So many bytes of messages were taken."""
        del self._buffer[:size]

    def whole(self) -> int:
        """How many bytes there have to be for a message, as far as that can be seen. Raises ProtocolError for
        a message that is too long."""
        if len(self._buffer) < PREFIX:
            return PREFIX
        size = int.from_bytes(self._buffer[1:PREFIX], "big")
        if size > self._longest:
            raise ProtocolError(Code.TOO_LARGE, f"a message of {size} bytes; the limit is {self._longest}")
        return PREFIX + size

    def message(self, whole: int) -> bytes:
        """Take the first message, of which `whole` bytes are there. Raises ProtocolError for one that is not
        compressed as it says."""
        data, flag = bytes(self._buffer[PREFIX:whole]), self._buffer[0]
        del self._buffer[:whole]
        return inflated(data, flag, self._encoding, self._longest) if flag else data

    def require_counted(self) -> None:
        """Have the service count what is kept. Raises ProtocolError where all calls keep too much."""
        service = self._service
        service.receiving += len(self._buffer) - self._counted
        self._counted = len(self._buffer)
        if service.receiving > service.options.receiving_bytes:
            text = f"requests of {service.options.receiving_bytes} bytes are being received, the limit"
            raise ProtocolError(Code.OVERLOADED, text, 1.0)

    def granted(self, *, room: bool) -> int:
        """How many bytes more the client is to be told that it may send; 0 for none now.

        What is no whole message yet has to go on; what has no `room` waits, and so does its client.
        """
        more = self._received - (0 if room else len(self._buffer)) + self._window - self._granted
        if more < self._window // 2:
            return 0
        self._granted += more
        return more

    def drop(self) -> None:
        """Forget all of it."""
        self._service.receiving -= self._counted
        self._counted = 0
        self._buffer.clear()
