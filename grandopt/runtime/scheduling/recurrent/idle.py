"""What is idle, and ends when it has been so for long enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from itertools import takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class IdleTimer(Generic[Item]):
    """Calls `end` with each item that has been idle for `idle_s` seconds, which is then forgotten.

    One timer of the event loop for all: it goes off at most once per idle time, and looks who is due then and
    when the next one will be. `clock` gives nanoseconds.
    """

    def __init__(
        self, idle_s: float, end: Callable[[Item], None], clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._idle_s, self._end, self._clock = idle_s, end, clock
        self._since: dict[Item, int] = {}  # the longest idle one first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, item: Item) -> None:
        """`item` is idle from now on."""
        self._since.pop(item, None)
        self._since[item] = self._clock()
        if self._timer is None:
            self._schedule()

    def remove(self, item: Item) -> None:
        """`item` is not idle, or gone."""
        self._since.pop(item, None)

    def until_next(self) -> float:
        """In how many seconds one will end, if none is used before."""
        now = self._clock()
        return max(0.0, self._idle_s - (now - next(iter(self._since.values()), now)) / 1e9)

    def expire(self) -> None:
        """End those that have been idle for long enough, now."""
        oldest = self._clock() - int(self._idle_s * 1e9)
        for item, _ in list(takewhile(lambda one: one[1] <= oldest, self._since.items())):
            del self._since[item]
            self._end(item)
        self.close()
        if self._since:
            self._schedule()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        # A millisecond more: the event loop's clock is coarser, and may ring a little early.
        self._timer = asyncio.get_running_loop().call_later(self.until_next() + 1e-3, self.expire)
