"""What a call says to its client: messages, as the client takes them, and how it ended."""

from __future__ import annotations

from abc import ABC, abstractmethod

from grandopt.serving.grpc.http2.frames import RST_STREAM, number
from grandopt.serving.grpc.http2.output import Output, widened
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.grpc.status import OK, RESPONSE, trailers
from grandopt.serving.protocol.errors import ProtocolError
from grandopt.signature import Array


class Reply(ABC):
    """The half of a call that speaks; the other half listens."""

    def __init__(self, out: Output, service: Service, stream: int) -> None:
        self.id = stream
        self.window = out.first_window
        """Bytes that the client takes now."""
        self.unsent = bytearray()
        self.done = False
        self._out, self._service = out, service
        self._begun = False
        self._trailers: bytes | None = None

    @property
    def _is_open(self) -> bool:
        """Whether its end is not known yet."""
        return not self.done and self._trailers is None

    @property
    def blocked(self) -> bool:
        """Whether what was written waits for the client."""
        return bool(self.unsent)

    def write(self, message: bytes) -> None:
        """Send a message, now or when the client takes it."""
        if not self.done:
            self._begin_answer()
            self._out.message(self, message)
            self._out.flush_soon()

    def write_many(self, messages: Array) -> None:
        """Send messages of one size [n, size], of bytes."""
        if not self.done:
            self._begin_answer()
            self._out.messages(self, messages)
            self._out.flush_soon()

    def _begin_answer(self) -> None:
        if not self._begun:
            self._begun = True
            self._out.headers(self.id, RESPONSE, last=False)

    def finish(self, error: ProtocolError | None = None) -> None:
        """End the call when what was written is out: well, or with a ProtocolError."""
        if not self._is_open:
            return
        self._trailers = OK if error is None else trailers(error)
        if not self.unsent:
            self._close()

    def wait_for_client(self) -> None:
        """There is no room for what it has to say."""
        self._service.wait(self)

    def opened(self, more: int) -> None:
        """The client takes so many bytes more. Raises Http2Error if those are too many."""
        self.window = widened(self.window, more)
        if self.unsent and self.window > 0:
            self.resume()

    def resume(self) -> None:
        """There is room again for what it has to say."""
        if self._out.send(self):
            self._service.arrived(self)
            if self._trailers is not None:
                self._close()
            else:
                self.take()

    def _close(self) -> None:
        assert self._trailers is not None
        block = self._trailers if self._begun else RESPONSE + self._trailers
        self._out.headers(self.id, block, last=True)
        self._out.flush_soon()
        self.drop()

    def reset(self, code: int) -> None:
        """End it without an answer."""
        if not self.done:
            self._out.parts.append(number(RST_STREAM, self.id, code))
            self._out.flush_soon()
            self.drop()

    @abstractmethod
    def take(self) -> None:
        """Hand on what has come, as far as there is room for it."""

    @abstractmethod
    def drop(self) -> None:
        """Nobody waits for it any more: what is under way is cancelled. Twice is allowed."""

    @abstractmethod
    def late(self, limit_s: float) -> None:
        """The client took too long: for its request, or for taking its answer."""
