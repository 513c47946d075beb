"""A level as the hierarchy uses it: timed, and left out while it does not pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grandopt.runtime.cache.levels.base import Item, Level
from grandopt.runtime.cache.stats import LevelStats
from grandopt.runtime.cache.worth import Savings, Worth


class Tier:
    """Owns nothing; thread safety as that of its level. `clock` gives seconds."""

    def __init__(self, level: Level, savings: Savings, clock: Callable[[], float]) -> None:
        self.level = level
        self.worth = Worth(level.name, savings, clock)
        self._clock = clock

    @property
    def on(self) -> bool:
        """Whether the level takes part."""
        return self.worth.on

    def get(self, key: bytes) -> Item | None:
        """A timed look-up; None while the level is left out."""
        if not self.worth.on:
            return None
        start = self._clock()
        item = self.level.get(key)
        self.worth.looked_up(self._clock() - start, item is not None)
        return item

    def get_many(self, keys: Sequence[bytes]) -> list[Item | None]:
        """Look-ups in one go, timed together."""
        if not self.worth.on or not keys:
            return [None] * len(keys)
        start = self._clock()
        items = self.level.get_many(keys)
        each = (self._clock() - start) / len(keys)
        for item in items:
            self.worth.looked_up(each, item is not None)
        return items

    def put_many(self, items: Sequence[Item]) -> None:
        """Write, unless the level is left out."""
        if self.worth.on:
            self.level.put_many(items)

    def stats(self) -> LevelStats:
        """What this level has done."""
        return LevelStats(
            self.level.name, self.worth.on, self.level.counts(), *self.worth.percentiles(0.5, 0.99, 0.999)
        )
