"""gzip and deflate, within limits."""

from __future__ import annotations

import zlib

from grandopt.serving.protocol.errors import Code, ProtocolError

LEAST = 1024
"""Bytes below which an answer is sent as it is."""
LONG = 1 << 16
"""Bytes from which (de)compressing is no work for the event loop."""
_LEVEL = 1
_GZIP, _ZLIB, _RAW = 31, 15, -15


def inflated(body: bytes, coding: str, most: int) -> bytes:
    """The body decompressed; raises ProtocolError where it is not what `coding` says, or more than `most`.

    "deflate" means zlib's format; what leaves its header out is understood, too.
    """
    windows = (_GZIP,) if coding == "gzip" else (_ZLIB, _RAW)
    for place, window in enumerate(windows):
        try:
            return _inflated(body, window, coding, most)
        except zlib.error as error:
            if place == len(windows) - 1:
                raise ProtocolError(Code.INVALID, f"the body is not {coding}: {error}") from None
    raise AssertionError("there is a window for each coding")


def _inflated(body: bytes, window: int, coding: str, most: int) -> bytes:
    reader = zlib.decompressobj(window)
    found = reader.decompress(body, most + 1)
    if len(found) > most:
        raise ProtocolError(Code.TOO_LARGE, f"the body has more than {most} bytes after decompression")
    if not reader.eof:
        raise ProtocolError(Code.INVALID, f"the body ends before its {coding} stream does")
    if reader.unused_data:
        raise ProtocolError(Code.INVALID, f"the body goes on after its {coding} stream")
    return found


def deflated(body: bytes, coding: str) -> bytes:
    """The body compressed with "gzip" or "deflate" (zlib's format)."""
    writer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    return writer.compress(body) + writer.flush()
