"""Least recently used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from grandopt.runtime.cache.policies.base import Policy


class LRU(Policy):
    """The key whose last use, by a hit or by being added, lies furthest back leaves first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Hashable, None] = OrderedDict()
        self.touch = self._keys.move_to_end  # one step of the interpreter

    def add(self, key: Hashable) -> None:
        self._keys[key] = None

    def hit(self, key: Hashable) -> None:
        if key in self._keys:
            self._keys.move_to_end(key)

    def discard(self, key: Hashable) -> None:
        self._keys.pop(key, None)

    def pop(self) -> Hashable:
        return self._keys.popitem(last=False)[0]

    def __len__(self) -> int:
        return len(self._keys)
