"""Limits on what a server may answer: it is another program, and may be any.

The client waits for each piece of an answer anew, and reads as much as is announced. A server that sends a
byte now and then, or announces gigabytes, would hold up the agent's call for as long as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LARGEST = 64 << 20
"""Bytes of the answers to one command."""


class BoundedSocket:
    """A socket whose answers to one command come within `seconds`, and are LARGEST bytes together at most.

    Raises TimeoutError and ConnectionError where they are not. All else is the socket's own.
    """

    def __init__(self, socket: Any, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket, self._seconds, self._clock = socket, seconds, clock
        self._until, self._left = clock() + seconds, LARGEST

    def sendall(self, *arguments: Any) -> Any:
        """A command begins; its answers are counted from here on."""
        self._until, self._left = self._clock() + self._seconds, LARGEST
        return self._socket.sendall(*arguments)

    def recv(self, *arguments: Any) -> Any:
        """As the socket's."""
        content = self._socket.recv(*arguments)
        self._took(len(content))
        return content

    def recv_into(self, *arguments: Any) -> Any:
        """As the socket's."""
        count = self._socket.recv_into(*arguments)
        self._took(count)
        return count

    def _took(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ConnectionError(f"an answer of more than {LARGEST} bytes")
        if self._clock() > self._until:
            raise TimeoutError("the answer does not end")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def bounded(connection: type[Any], seconds: float) -> type[Any]:
    """A client's class of connections, with bounded sockets."""

    class Bounded(connection):  # type: ignore[misc]
        def _connect(self) -> Any:
            return BoundedSocket(super()._connect(), seconds)

    return Bounded
