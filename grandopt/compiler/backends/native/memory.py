"""One scratch arena for all intermediate values: buffers whose lifetimes do not meet share bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.layout import Buffer, Step

ALIGNMENT = 64
"""Bytes; one AVX-512 vector, one cache line."""


@dataclass(frozen=True)
class Arena:
    """Byte offset of each scratch buffer for one sample, and the bytes that one sample needs.

    For a tile of T samples every offset and size is T times that: a buffer then holds T samples, each
    padded to the alignment.
    """

    offsets: dict[Buffer, int]
    size: int


@dataclass(frozen=True)
class _Lifetime:
    buffer: Buffer
    first: int
    last: int


def padded_bytes(buffer: Buffer, alignment: int = ALIGNMENT) -> int:
    """Bytes of one sample, up to the next multiple of the alignment."""
    size = buffer.elements * np.dtype(buffer.dtype).itemsize
    return -(-size // alignment) * alignment


def plan(steps: Sequence[Step], dtype: str | None = None, alignment: int = ALIGNMENT) -> Arena:
    """Place the largest buffers first, each at the lowest offset that is free while it lives; with `dtype`
    those of that dtype alone."""
    placed: list[tuple[int, _Lifetime]] = []
    lives = [life for life in _lifetimes(steps) if dtype is None or life.buffer.dtype == dtype]
    sizes = {life: padded_bytes(life.buffer, alignment) for life in lives}
    for life in sorted(lives, key=lambda life: (-sizes[life], life.first)):
        offset = 0
        for start, other in sorted(placed, key=lambda item: item[0]):
            meets = other.first <= life.last and life.first <= other.last
            if meets and offset + sizes[life] > start:
                offset = max(offset, start + sizes[other])
        placed.append((offset, life))
    size = max((offset + sizes[life] for offset, life in placed), default=0)
    return Arena({life.buffer: offset for offset, life in placed}, size)


def _lifetimes(steps: Sequence[Step]) -> list[_Lifetime]:
    seen: dict[Buffer, tuple[int, int]] = {}
    for position, step in enumerate(steps):
        for place in step.places:
            if place.buffer.kind == "scratch":
                first, _ = seen.get(place.buffer, (position, position))
                seen[place.buffer] = (first, position)
    return [_Lifetime(buffer, first, last) for buffer, (first, last) in seen.items()]
