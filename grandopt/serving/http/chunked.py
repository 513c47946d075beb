"""A body in chunks."""

from __future__ import annotations

from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.protocol.errors import Code, ProtocolError

LINE = 4096
"""The longest line with a chunk's size, and the most bytes of trailers."""
SIZE, AFTER, TRAILERS = "size", "after", "trailers"
"""Which line is next: the size of a chunk, the end of one, or what follows the last."""
_MOST_DIGITS = 15
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class ChunkedBody:
    """Takes a body apart as it arrives; `parts` are its bytes so far, `size` how many these are."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._rest = b""
        self._left = 0
        self._count = 0
        self._state = SIZE
        self._trailers = 0
        self.parts: list[bytes] = []
        self.size = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; returns what comes after the body, or None while it goes on.

        Raises ProtocolError for a body that is no such thing, or more than the limits allow.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        place = self._taken(data)
        return None if place < 0 else data[place:]

    def _taken(self, data: bytes) -> int:
        """Where the body ends in `data`, or -1."""
        place = 0
        while True:
            if self._left:
                part = data[place : place + self._left]
                self._keep(part)
                self._left -= len(part)
                place += len(part)
                if self._left:
                    return -1
                self._state = AFTER
            end = data.find(b"\r\n", place)
            if end < 0:
                if len(data) - place > LINE:
                    raise ProtocolError(Code.INVALID, f"a line between chunks is longer than {LINE} bytes")
                self._rest = data[place:]
                return -1
            line, place = data[place:end], end + 2
            if self._line(line):
                return place

    def _line(self, line: bytes) -> bool:
        """One line between chunks; whether it was the last of the body."""
        if self._state == AFTER:
            if line:
                raise ProtocolError(Code.INVALID, "a chunk is longer than its size")
            self._state = SIZE
            return False
        if self._state == TRAILERS:
            self._trailers += len(line) + 2
            if self._trailers > LINE:
                raise ProtocolError(Code.HEADERS, f"more than {LINE} bytes of trailers")
            return not line
        digits = line.partition(b";")[0].strip(b" \t")
        if not digits or len(digits) > _MOST_DIGITS or not _DIGITS.issuperset(digits) or len(line) > LINE:
            raise ProtocolError(Code.INVALID, f"not the size of a chunk: {line[:20]!r}")
        self._left = int(digits, 16)
        self._count += self._left > 0
        if self._count > self._limits.chunks:
            raise ProtocolError(Code.TOO_LARGE, f"more than {self._limits.chunks} chunks")
        if self.size + self._left > self._limits.body_bytes:
            raise ProtocolError(Code.TOO_LARGE, f"the body has more than {self._limits.body_bytes} bytes")
        if not self._left:
            self._state = TRAILERS
        return False

    def _keep(self, part: bytes) -> None:
        if part:
            self.parts.append(part)
            self.size += len(part)
