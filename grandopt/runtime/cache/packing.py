"""Compressed values that share what they repeat of each other.

Observations are windows over a stream: of 60 rows, 59 were in the one before. A value is therefore first
looked at beside a few earlier ones of its dtype and shape (its bases, as key frames are in video): where it
goes on from one of them, only where that is and the rest are kept. A base is a value compressed by itself, so
no value leans on more than one other.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from grandopt.runtime.cache.codec import contents_of
from grandopt.runtime.cache.compression import compress, decompress

BASES = 4
"""Bases of one dtype and shape that a value is looked at beside."""
LAYOUTS = 16
"""Dtypes and shapes for which bases are remembered."""
LARGEST = (1 << 16) - 1
"""Bytes of a value that may lean on another; what is remembered uncompressed is 4 MiB at most."""
REPEATED = 0.75
"""Part of a value that must be in its base. With less the rest grows; with more there are more bases."""
NEEDLE = 64
"""Bytes by which the place is found."""
_PLACE = struct.Struct("<HHH")
"""Where the common piece begins in the value, where in the base, and how long it is."""


@dataclass(slots=True, eq=False)
class Packed:
    """A compressed value, and the one that it leans on.

    `users` counts the entry that holds it and the values that lean on it: while there are any, its bytes are
    in memory. It belongs to the store that holds the value, and is changed under its lock.
    """

    data: bytes
    base: Packed | None = None
    users: int = field(default=0)


class Packer:
    """Packs values. Thread safety: any thread may call any method; what two do at once may find no base."""

    def __init__(self) -> None:
        self._bases: OrderedDict[bytes, tuple[tuple[bytes, Packed], ...]] = OrderedDict()

    def pack(self, data: bytes) -> Packed:
        """`data` in as few bytes as are found, and at most one more than it has."""
        start = contents_of(data)
        if not start or not 2 * NEEDLE <= len(data) - start <= LARGEST:
            return Packed(compress(data))
        head = data[:start]
        bases = self._bases.get(head, ())
        for whole, base in bases:
            leaning = _lean(data, whole, start)
            if leaning is not None:
                return Packed(leaning, base)
        packed = Packed(compress(data))
        self._bases[head] = ((data, packed), *bases[: BASES - 1])
        while len(self._bases) > LAYOUTS:
            self._bases.popitem(last=False)
        return packed


def unpack(packed: Packed) -> bytes:
    """What was packed."""
    if packed.base is None:
        return decompress(packed.data)
    whole = decompress(packed.base.data)
    here, there, length = _PLACE.unpack_from(packed.data)
    rest = decompress(packed.data[_PLACE.size :])
    start = len(whole) - length - len(rest)
    there += start
    return b"".join((whole[:start], rest[:here], whole[there : there + length], rest[here:]))


def _lean(data: bytes, whole: bytes, start: int) -> bytes | None:
    """`data` as a place in `whole`, whose contents begin at `start` too, and the rest."""
    size = len(data) - start
    least = REPEATED * size
    for here, there in (
        (0, whole.find(data[start : start + NEEDLE], start) - start),
        (data.find(whole[start : start + NEEDLE], start) - start, 0),
    ):
        if here < 0 or there < 0:
            continue
        most = size - max(here, there)
        if most >= least and (length := _agreement(data, start + here, whole, start + there, most)) >= least:
            rest = data[start : start + here] + data[start + here + length :]
            return _PLACE.pack(here, there, length) + compress(rest)
    return None


def _agreement(one: bytes, at_one: int, two: bytes, at_two: int, most: int) -> int:
    """How many bytes from the two places on are equal, at most `most`."""
    if one[at_one : at_one + most] == two[at_two : at_two + most]:
        return most
    differ = np.frombuffer(one, np.uint8, most, at_one) != np.frombuffer(two, np.uint8, most, at_two)
    return int(differ.argmax())
