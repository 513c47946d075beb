"""Values on their way out of this process: sealed against damage, mix-ups and other versions.

    version   1 byte
    expires   float64, seconds since 1970 (infinity: never)
    checksum  XXH3-64 of the data, seeded with the key and all of the above
    data

Little-endian. The checksum is against accidents, not against an enemy who can write to the storage; he can
give wrong answers, but cannot run code, because the data are no pickle.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import xxhash

VERSION = 1
"""Of the parcel; storage names have it in them, so that two versions of grandopt do not meet."""
_HEADER = struct.Struct("<BdQ")
_SEALED = struct.Struct("<Bd")


class Parcel(NamedTuple):
    """What was sealed: the data, and the time of day from which they are gone (infinity: never)."""

    data: bytes
    expires: float


def seal(key: bytes, data: bytes, expires: float = math.inf) -> bytes:
    """`data` of `key` in a form that `unseal` accepts for no other key."""
    return _HEADER.pack(VERSION, expires, _checksum(key, expires, data)) + data


def unseal(key: bytes, sealed: bytes) -> Parcel | None:
    """What was sealed for `key`; None for anything else, damaged or foreign."""
    if len(sealed) < _HEADER.size:
        return None
    version, expires, checksum = _HEADER.unpack_from(sealed)
    data = sealed[_HEADER.size :]
    if version != VERSION or checksum != _checksum(key, expires, data):
        return None
    return Parcel(data, expires)


def _checksum(key: bytes, expires: float, data: bytes) -> int:
    seed = xxhash.xxh3_64_intdigest(key + _SEALED.pack(VERSION, expires))
    return int(xxhash.xxh3_64_intdigest(data, seed))
