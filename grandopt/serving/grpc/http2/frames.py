"""Frames of HTTP/2 (RFC 9113), and how a connection or a stream ends that breaks its rules."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">HBBBI")
"""Of a frame: its length in two parts, kind, flags and stream."""
HEAD_BYTES = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32

TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST = 1, 3, 4, 5, 6
"""Settings that are read or sent."""

(
    NO_ERROR,
    PROTOCOL_ERROR,
    INTERNAL_ERROR,
    FLOW_CONTROL_ERROR,
    _,
    STREAM_CLOSED,
    FRAME_SIZE_ERROR,
    REFUSED_STREAM,
    CANCEL,
    COMPRESSION_ERROR,
    _,
    ENHANCE_YOUR_CALM,
) = range(12)

SMALLEST_MAX_FRAME, LARGEST_MAX_FRAME = 1 << 14, (1 << 24) - 1
DEFAULT_WINDOW = (1 << 16) - 1
LARGEST_WINDOW = (1 << 31) - 1
STREAM_BITS = (1 << 31) - 1


class Http2Error(Exception):
    """The client broke the protocol, and nothing that it sends can be understood any more."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamError(Exception):
    """One call broke the protocol; the others of its connection go on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it is sent."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 255, kind, flags, stream) + payload


def number(kind: int, stream: int, value: int) -> bytes:
    """A frame that is a number of 32 bits: a window's or a reason."""
    return frame(kind, 0, stream, value.to_bytes(4, "big"))


def settings(values: dict[int, int]) -> bytes:
    """The frame that says them."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in values.items()))


def goaway(last: int, code: int, why: str) -> bytes:
    """The frame after which no call above `last` is answered."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + why.encode(errors="replace"))


def unpadded(flags: int, payload: bytes) -> bytes:
    """A payload without what fills it up. Raises Http2Error where that is longer than all of it."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "a frame has more padding than bytes")
    return payload[1 : len(payload) - payload[0]]
