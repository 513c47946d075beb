"""The caller that computes a value for all who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grandopt.runtime.cache.flights import Open
from grandopt.runtime.cache.levels.memory import MemoryLevel

if TYPE_CHECKING:
    from grandopt.runtime.cache.hierarchy import Hierarchy


class Lead:
    """The one caller that computes a key: what it has found or computed."""

    def __init__(self, cache: Hierarchy, key: bytes, ttl: float | None, start: int) -> None:
        self._cache, self._key, self._ttl, self._start = cache, key, ttl, start
        self._began = cache.now()
        self.outcome: Open | None = None
        self.value: Any = None

    @property
    def found(self) -> bool:
        """Whether another caller had computed the value just before."""
        return self.value is not None

    def look_again(self, memory: MemoryLevel) -> None:
        """Between a miss and becoming the one who computes, another one may have done so."""
        if memory.holds(self._key):
            self.value = memory.value(self._key)

    def computed(self, value: Any) -> Any:
        """Keep what was computed; the value as a hit would give it."""
        taken = self._cache.now() - self._began
        self.outcome = self._cache.settle(self._key, value, self._ttl, taken, self._start)
        return self.outcome()
