"""How often keys were used lately, whether they are held or not."""

from __future__ import annotations

import math
from collections.abc import Hashable

MOST = 15
"""Counts above this tell nothing more about who should stay."""
PERIOD = 10
"""Uses per held key after which all counts are halved (Einziger, Friedman and Manes, "TinyLFU", 2017)."""
SLOTS = 64
"""Counters per held key. One wide row of bytes instead of TinyLFU's four narrow rows of half-bytes takes as
many bits for as few collisions, and one look-up instead of four."""
SAMPLED = 20
"""The lowest bit of a key's 64 that is well mixed and does not decide which counter it has: 2^24 of those
would be a gigabyte of keys."""
_HALVES = bytes(count >> 1 for count in range(256))
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class Frequency:
    """Approximate counts of recent uses: too high for a few keys that share a counter, never too low."""

    def __init__(self) -> None:
        self._shift = 64 - 10
        self._counts = bytearray(1 << 10)
        self._sum = 0
        self._most = math.inf

    def fit(self, held: int, *, aging: bool) -> None:
        """Have counters enough for `held` keys, and with `aging` forget at the pace that suits them."""
        while len(self._counts) < SLOTS * held:
            # The upper bits of the hash are the index: the keys of a slot part into the two that follow it.
            doubled = bytearray(2 * len(self._counts))
            doubled[0::2] = doubled[1::2] = self._counts
            self._counts = doubled
            self._shift -= 1
        self._most = PERIOD * held if aging else math.inf

    def add(self, key: Hashable) -> int:
        """`key` was used; returns 64 bits by which samples of keys may be taken, from SAMPLED on upwards."""
        # As `_slot`, written out: this is done at every use.
        word = (hash(key) * _GOLDEN) & _WORD
        slot = word >> self._shift
        counts = self._counts
        count = counts[slot]
        if count < MOST:
            counts[slot] = count + 1
            self._sum += 1
            if self._sum >= self._most:
                self._counts = counts.translate(_HALVES)
                self._sum //= 2
        return word

    def of(self, key: Hashable) -> int:
        """Recent uses of `key`."""
        return self._counts[self._slot(key)]

    def _slot(self, key: Hashable) -> int:
        # Fibonacci hashing: Python's hash of an integer is the integer, whose patterns have to be spread.
        return ((hash(key) * _GOLDEN) & _WORD) >> self._shift
