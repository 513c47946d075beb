"""Values on their way out of this process: sealed against damage, mix-ups and other versions.

    version   1 byte
    checksum  XXH3-64 of the key, and with that for a seed, of all that follows
    expires   float64, seconds since 1970 (infinity: never)
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
"""Of the envelope; storage names have it in them, so that two versions of grandopt do not meet."""
_HEADER = struct.Struct("<BQd")
_EXPIRES = struct.Struct("<d")
_SEALED = 9
"""Bytes before what the checksum covers."""


class Envelope(NamedTuple):
    """What was sealed: the data, and the time of day from which they are gone (infinity: never)."""

    data: bytes
    expires: float


def seal(key: bytes, data: bytes, expires: float = math.inf) -> bytes:
    """`data` of `key` in a form that `unseal` accepts for no other key."""
    checksum = xxhash.xxh3_64_intdigest(_EXPIRES.pack(expires) + data, xxhash.xxh3_64_intdigest(key))
    return _HEADER.pack(VERSION, checksum, expires) + data


def unseal(key: bytes, sealed: bytes) -> Envelope | None:
    """What was sealed for `key`; None for anything else, damaged or foreign."""
    if len(sealed) < _HEADER.size:
        return None
    version, checksum, expires = _HEADER.unpack_from(sealed)
    covered = memoryview(sealed)[_SEALED:]
    if version != VERSION or checksum != xxhash.xxh3_64_intdigest(covered, xxhash.xxh3_64_intdigest(key)):
        return None
    return Envelope(sealed[_HEADER.size :], expires)
