"""Pieces of one size that follow each other and begin alike, as the frames of a client's messages do."""

from __future__ import annotations

import numpy as np

from grandopt.signature import Array


def alike(data: bytes, at: int, size: int, head: int) -> Array:
    """The pieces of `size` bytes from `at`, [n, size], as far as their first `head` bytes are the same; there
    is one at least. They are a view of `data`."""
    count = (len(data) - at) // size
    pieces = np.frombuffer(data, np.uint8, count * size, at).reshape(count, size)
    return pieces[: equal(pieces[:, :head])]


def equal(pieces: Array) -> int:
    """How many pieces [n, size], of bytes, are equal to the first before one that is not."""
    if pieces.tobytes() == pieces[0].tobytes() * len(pieces):  # the usual case, at a tenth of the cost
        return len(pieces)
    return int((pieces != pieces[0]).any(axis=1).argmax())
