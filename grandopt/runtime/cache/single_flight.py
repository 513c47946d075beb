"""One computation per key, however many ask for it at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from grandopt.errors import CacheError
from grandopt.runtime.cache.levels.memory import MemoryLevel

Open = Callable[[], Any]


class Pending:
    """One computation under way; those who wait get its outcome, or learn that there is none."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._outcome: Future[Open | None] = Future()

    def publish(self, outcome: Open | None) -> None:
        """Tell those who wait: a function that gives each of them the value, or None after a failure."""
        self._outcome.set_result(outcome)

    def wait(self) -> Open | None:
        """The outcome. Raises CacheError in the thread that computes, which would wait for itself."""
        if self._thread == threading.get_ident() and not self._outcome.done():
            raise CacheError(
                "a cached computation waits for itself: it asks for its own key, or a blocking call waits "
                "in the thread of the event loop that computes; use `aget_or_compute` there"
            )
        return self._outcome.result()

    async def wait_async(self) -> Open | None:
        """The outcome; the event loop goes on meanwhile. A caller that is cancelled changes nothing."""
        return await asyncio.shield(asyncio.wrap_future(self._outcome))


class SingleFlight:
    """The computations under way, by key. Thread safety: any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[bytes, Pending] = {}

    def join(self, key: bytes) -> tuple[Pending, bool]:
        """The computation of `key`, and whether the caller leads it: then it computes, and must `publish`."""
        with self._lock:
            pending = self._pending.get(key)
            if pending is not None:
                return pending, False
            pending = self._pending[key] = Pending()
            return pending, True

    def publish(self, key: bytes, pending: Pending, outcome: Open | None) -> None:
        """End a pending computation: whoever asks from now on finds the value in the cache, or computes."""
        with self._lock:
            del self._pending[key]
        pending.publish(outcome)


class Settling(Protocol):
    """The part of a cache that a leader needs."""

    def now(self) -> float:
        """The cache's clock, seconds."""

    def settle(self, key: bytes, value: Any, ttl: float | None, seconds: float, start: int) -> Open:
        """Keep a value that took `seconds` to compute; what opens it anew."""


class Leader:
    """The one caller that computes a key: what it has found or computed."""

    def __init__(self, cache: Settling, key: bytes, ttl: float | None, start: int) -> None:
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
