"""Least frequently used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from grandopt.runtime.cache.policies.base import Policy


class LFU(Policy):
    """In-cache LFU: the key with the fewest uses since it was added leaves first.

    Of several such keys, the one whose last use lies furthest back leaves. A use is a hit or being added.
    What has left is forgotten, and counts do not age: a key that was popular once stays until it is
    removed. All operations take constant time: keys of one count are in one queue (Shah, Mitra and
    Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme", 2010).
    """

    def __init__(self) -> None:
        self._uses: dict[Hashable, int] = {}
        self._queues: dict[int, OrderedDict[Hashable, None]] = {}
        self._fewest = 1

    def add(self, key: Hashable) -> None:
        self._uses[key] = self._fewest = 1
        self._queues.setdefault(1, OrderedDict())[key] = None

    def hit(self, key: Hashable) -> None:
        uses = self._uses.get(key)
        if uses is None:
            return
        self._leave(key, uses)
        if uses == self._fewest and uses not in self._queues:
            self._fewest += 1
        self._uses[key] = uses + 1
        self._queues.setdefault(uses + 1, OrderedDict())[key] = None

    def discard(self, key: Hashable) -> None:
        uses = self._uses.pop(key, None)
        if uses is not None:
            self._leave(key, uses)

    def pop(self) -> Hashable:
        if not self._uses:
            raise KeyError("no key is held")
        if self._fewest not in self._queues:  # its last key was discarded
            self._fewest = min(self._queues)
        key = next(iter(self._queues[self._fewest]))
        self.discard(key)
        return key

    def __len__(self) -> int:
        return len(self._uses)

    def _leave(self, key: Hashable, uses: int) -> None:
        queue = self._queues[uses]
        del queue[key]
        if not queue:
            del self._queues[uses]
