"""One computation per key, however many ask for it at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from grandopt.errors import CacheError

Open = Callable[[], Any]


class Flight:
    """One computation under way; those who wait get its outcome, or learn that there is none."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._outcome: Future[Open | None] = Future()

    def land(self, outcome: Open | None) -> None:
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

    async def arrive(self) -> Open | None:
        """The outcome; the event loop goes on meanwhile. A caller that is cancelled changes nothing."""
        return await asyncio.shield(asyncio.wrap_future(self._outcome))


class Flights:
    """The computations under way, by key. Thread safety: any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[bytes, Flight] = {}

    def join(self, key: bytes) -> tuple[Flight, bool]:
        """The flight of `key`, and whether the caller leads it: who leads computes, and must call `land`."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight()
            return flight, True

    def land(self, key: bytes, flight: Flight, outcome: Open | None) -> None:
        """End a flight: whoever asks from now on finds the value in the cache, or computes."""
        with self._lock:
            del self._flights[key]
        flight.land(outcome)
