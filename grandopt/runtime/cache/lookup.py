"""A look-up in memory as one function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grandopt.runtime.cache.bounded_store import BoundedStore

STRIDE = 127
"""Of so many look-ups one is timed. A prime: what repeats itself is not always met at one place."""


Due = Callable[[Callable[[bytes], Any], bytes], Any]
"""What stands in for a look-up that is due to be timed: it is given the function and the key."""


def look_up(store: BoundedStore[bytes], missed: Callable[[bytes], Any], due: Due) -> Callable[[bytes], Any]:
    """A function that gives the value of a key, for any thread.

    Half of a hit's time goes into its key, and each function called costs a tenth of it, so all is in one.
    `missed` answers where there is no value, and counts the miss. Every STRIDE-th hit is left to `due`, which
    is given this function and calls it once.
    """
    find, touch, clock = store.find, store.touch, store.clock
    hits = 0
    left = STRIDE

    def value(key: bytes) -> Any:
        nonlocal hits, left
        entry = find(key)
        if entry is None or (entry.expires is not None and clock() >= entry.expires):
            return missed(key)
        left -= 1
        if not left:
            left = STRIDE
            hits += STRIDE - 1
            store.heed()
            return due(value, key)
        try:
            touch(key)
        except KeyError:  # it left since
            left += 1
            return missed(key)
        hand_out = entry.hand_out
        return hand_out()

    store.counted_elsewhere(lambda: hits + STRIDE - left)
    return value
