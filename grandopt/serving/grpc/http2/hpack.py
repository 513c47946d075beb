"""Header compression (RFC 7541): blocks of headers to their names and values."""

from __future__ import annotations

from collections import deque

from grandopt.serving.grpc.http2.frames import COMPRESSION_ERROR, Http2Error
from grandopt.serving.grpc.http2.huffman import decoded

Header = tuple[bytes, bytes]

_PLAIN = (
    "accept-charset,accept-encoding=gzip\\ deflate,accept-language,accept-ranges,accept,"
    "access-control-allow-origin,age,allow,authorization,cache-control,content-disposition,content-encoding,"
    "content-language,content-length,content-location,content-range,content-type,cookie,date,etag,expect,"
    "expires,from,host,if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,"
    "link,location,max-forwards,proxy-authenticate,proxy-authorization,range,referer,refresh,retry-after,"
    "server,set-cookie,strict-transport-security,transfer-encoding,user-agent,vary,via,www-authenticate"
)
STATIC: tuple[Header, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", str(status).encode()) for status in (200, 204, 206, 304, 400, 404, 500)),
    *(
        (name.encode(), value.replace("\\", ",").encode())
        for name, _, value in (one.partition("=") for one in _PLAIN.split(","))
    ),
)
"""The table that every connection begins with; its indices begin at 1."""

TABLE_BYTES = 4096
"""Of the table of a connection's own: what clients take where a server says nothing."""
OVERHEAD = 32
"""Bytes that count for an entry beside its name and its value."""
_LONGEST_NUMBER = 5


class Decoder:
    """The table of one connection. `version` goes up whenever it changes: until then, the same bytes are the
    same headers."""

    def __init__(self) -> None:
        self._own: deque[Header] = deque()
        self._size = 0
        self._limit = TABLE_BYTES
        self.version = 0

    def decode(self, block: bytes, most: int) -> list[Header] | None:
        """The headers of a block; None where they take more than `most` bytes, by the protocol's measure.

        Raises Http2Error where the block is none, after which nothing more can be decoded.
        """
        found: list[Header] = []
        at, size, counted, begun = 0, len(block), 0, False
        while at < size:
            first = block[at]
            if first & 0xE0 == 0x20:
                if begun:
                    raise _fault("the size of the table changes within headers")
                at = self._resize(block, at)
                continue
            begun = True
            if first & 0x80:
                index, at = _number(block, at, 7)
                header = self._at(index)
            else:
                adds = bool(first & 0x40)
                index, at = _number(block, at, 6 if adds else 4)
                if index:
                    name = self._at(index)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                header = name, value
                if adds:
                    self._add(header)
            counted += len(header[0]) + len(header[1]) + OVERHEAD
            if counted <= most:
                found.append(header)
        return found if counted <= most else None

    def _at(self, index: int) -> Header:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        place = index - len(STATIC) - 1
        if 0 <= place < len(self._own):
            return self._own[place]
        raise _fault(f"header {index} is in no table")

    def _add(self, header: Header) -> None:
        self._own.appendleft(header)
        self._size += len(header[0]) + len(header[1]) + OVERHEAD
        self._shrink()

    def _resize(self, block: bytes, at: int) -> int:
        limit, at = _number(block, at, 5)
        if limit > TABLE_BYTES:
            raise _fault(f"a table of {limit} bytes was never allowed")
        self._limit = limit
        self._shrink()
        return at

    def _shrink(self) -> None:
        self.version += 1
        while self._size > self._limit:
            name, value = self._own.pop()
            self._size -= len(name) + len(value) + OVERHEAD


def _fault(text: str) -> Http2Error:
    return Http2Error(COMPRESSION_ERROR, text)


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number whose first byte has so many bits for it, and where it ends."""
    most = (1 << bits) - 1
    found = block[at] & most
    at += 1
    if found < most:
        return found, at
    for shift in range(0, 7 * _LONGEST_NUMBER, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        found += (byte & 127) << shift
        if byte < 128:
            return found, at
    raise _fault("a number of the headers does not end")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise _fault("the headers end within one")
    coded = block[at] & 0x80
    size, at = _number(block, at, 7)
    end = at + size
    if end > len(block):
        raise _fault("the headers end within one")
    return (decoded(block[at:end]) if coded else block[at:end]), end


def literal(name: str, value: str) -> bytes:
    """A header as it is sent: in no table, so that both sides may forget it."""
    return b"".join((b"\x00", _sized(name.encode("ascii")), _sized(value.encode("ascii"))))


def _sized(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    size -= 127
    out = bytearray((127,))
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out) + text
