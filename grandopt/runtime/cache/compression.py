"""Zstandard with byte shuffling, for values that are mostly numbers of one width.

The bytes of the numbers are sorted by their place within the number first: signs and exponents, which
change little, then stand side by side (the filter of HDF5 and Blosc). One byte in front says how wide the
numbers were taken to be, or that nothing was compressed.
"""

from __future__ import annotations

import threading

import numpy as np
import zstandard

WIDTHS = (1, 4, 8)
"""Bytes of a number that are tried; the smallest result is taken."""
PAYS = 0.9
"""A result must be smaller than this part of the original: less gain is not worth the time to read it."""
LEVEL = 3
_RAW = b"\0"


class _Codecs(threading.local):
    """A compressor and a decompressor for each thread: neither may be used by two at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_checksum=False, write_content_size=True, write_dict_id=False
        )
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def compress(data: bytes) -> bytes:
    """`data` in as few bytes as one of WIDTHS gives, and at most one byte more than it has."""
    best = _RAW + data
    most = PAYS * len(data)
    for width in WIDTHS:
        packed = _codecs.compressor.compress(_shuffle(data, width))
        if len(packed) < most:
            most = len(packed)
            best = bytes([width]) + packed
    return best


def decompress(packed: bytes) -> bytes:
    """What `compress` was given."""
    width = packed[0]
    if width == 0:
        return packed[1:]
    return _unshuffle(_codecs.decompressor.decompress(memoryview(packed)[1:]), width)


def _shuffle(data: bytes, width: int) -> bytes:
    whole = len(data) - len(data) % width
    if width == 1 or whole == 0:
        return data
    return np.frombuffer(data, np.uint8, whole).reshape(-1, width).T.tobytes() + data[whole:]


def _unshuffle(data: bytes, width: int) -> bytes:
    whole = len(data) - len(data) % width
    if width == 1 or whole == 0:
        return data
    return np.frombuffer(data, np.uint8, whole).reshape(width, -1).T.tobytes() + data[whole:]
