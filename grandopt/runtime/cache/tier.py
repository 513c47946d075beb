"""A level as the hierarchy uses it: timed, and left out while it does not pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from grandopt.runtime.cache.break_even import CacheBreakEven, Savings
from grandopt.runtime.cache.levels.base import CacheLevel, Item
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.lookup import STRIDE
from grandopt.runtime.cache.stats import LevelStats


class Tier:
    """Owns nothing; thread safety as that of its level. `clock` gives seconds.

    `judged` is called each time that the worth of the level was judged.
    """

    def __init__(
        self,
        level: CacheLevel,
        savings: Savings,
        clock: Callable[[], float],
        judged: Callable[[], None],
        must_pay: bool = True,
    ) -> None:
        self.level = level
        self.break_even = CacheBreakEven(f"level {level.name}", savings, clock, must_pay)
        self._clock = clock
        self._judged = judged

    @property
    def on(self) -> bool:
        """Whether the level takes part."""
        return self.break_even.on

    def get(self, key: bytes) -> Item | None:
        """A timed look-up; None while the level is left out."""
        if not self.break_even.on:
            return None
        start = self._clock()
        item = self.level.get(key)
        if self.break_even.looked_up(self._clock() - start, item is not None):
            self._judged()
        return item

    def get_many(self, keys: Sequence[bytes]) -> list[Item | None]:
        """Look-ups in one go, timed together."""
        if not self.break_even.on or not keys:
            return [None] * len(keys)
        start = self._clock()
        items = self.level.get_many(keys)
        each = (self._clock() - start) / len(keys)
        judgements = [self.break_even.looked_up(each, item is not None) for item in items]
        if any(judgements):
            self._judged()
        return items

    def put_many(self, items: Sequence[Item]) -> None:
        """Write, unless the level is left out."""
        if self.break_even.on:
            self.level.put_many(items)

    def stats(self) -> LevelStats:
        """What this level has done."""
        return LevelStats(
            self.level.name,
            self.break_even.on,
            self.level.counts(),
            *self.break_even.percentiles(0.5, 0.99, 0.999),
        )


class FirstTier(Tier):
    """Memory, where timing every look-up would take longer than most of them: one in STRIDE is timed."""

    level: MemoryLevel

    def __init__(
        self,
        level: MemoryLevel,
        savings: Savings,
        clock: Callable[[], float],
        judged: Callable[[], None],
        must_pay: bool = True,
    ) -> None:
        super().__init__(level, savings, clock, judged, must_pay)
        self._untimed = STRIDE

    def look_up(self, below: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """The value of a key, or what `below` answers; None where neither has one."""

        def missed(key: bytes) -> Any:
            self._untimed -= 1
            if self._untimed <= 0:
                self._untimed = STRIDE
                self._timed(self.level.holds, key, False)
            return below(key)

        return self.level.look_up(missed, lambda value, key: self._timed(value, key, True))

    def _timed(self, ask: Callable[[bytes], Any], key: bytes, hit: bool) -> Any:
        start = self._clock()
        found = ask(key)
        if self.break_even.looked_up(self._clock() - start, hit):
            self._judged()
        return found
