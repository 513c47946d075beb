"""What all connections of a server share: its calls, its limits, and what is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from grandopt.serving.grpc.http2.methods import Method, Streamed
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.status import RESPONSE, trailers
from grandopt.serving.protocol.errors import Code, ProtocolError

RETRY_S = 1.0


class Late(Protocol):
    """A call that waits for its client."""

    def late(self, limit_s: float) -> None:
        """It waited too long."""
        ...


class Connected(Protocol):
    """A connection, as a whole."""

    def tick(self, now: float) -> None:
        """Look at what takes too long."""
        ...

    def stop(self) -> None:
        """The server stops."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Service:
    """Belongs to the event loop. `now` is its time at the last tick, `clock` that of connections' turns."""

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        options: GrpcOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.methods, self.options, self.clock = methods, options, clock
        self.connections: set[Connected] = set()
        self.calls = self.streams = 0
        """Calls that are open, and those of them that last as long as their clients want."""
        self.receiving = 0
        """Bytes of requests that are not whole, or wait."""
        self.stopping = False
        self.now = 0.0
        self._waiting: dict[Late, float] = {}

    @property
    def has_room(self) -> bool:
        """Whether another call of one request may be opened."""
        return self.calls < self.options.max_calls and not self.stopping

    def full(self, method: Method) -> bytes | None:
        """The headers with which another call is answered where there is no room for it."""
        options = self.options
        if self.calls >= options.max_calls:
            text = f"{self.calls} calls are open, which is the limit"
        elif isinstance(method, Streamed) and self.streams >= options.max_streams:
            text = f"{self.streams} streams are open, as many as there may be"
        else:
            return None
        return RESPONSE + trailers(ProtocolError(Code.OVERLOADED, text, RETRY_S))

    def wait(self, call: Late) -> None:
        """A call waits for its client, from now on."""
        self._waiting.pop(call, None)
        self._waiting[call] = self.now

    def arrived(self, call: Late) -> None:
        """It waits no longer."""
        self._waiting.pop(call, None)

    def tick(self, now: float) -> None:
        """Have everything end that took too long."""
        self.now = now
        limit_s = self.options.request_s
        for call, since in list(self._waiting.items()):
            if since > now - limit_s:
                break  # those after it began to wait later
            del self._waiting[call]
            call.late(limit_s)
        for connection in list(self.connections):
            connection.tick(now)
