"""When to leave a server alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 3
"""In a row, after which the server is left alone."""
PAUSE = 1.0
"""Seconds of the first pause; each further failure doubles it."""
LONGEST = 60.0
"""Seconds of a pause, at most."""


class Breaker:
    """A circuit breaker: closed, open for a pause, then one trial that closes or opens it again.

    Thread safety: any thread may call any method. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    def allows(self) -> bool:
        """Whether the server may be asked; after a pause one caller may, and the next pause begins."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            if self._failures < FAILURES:
                return True
            now = self._clock()
            if now < self._until:
                return False
            self._until = now + self._pause()
            return True

    def succeeded(self) -> None:
        """The server has answered."""
        if self._failures:
            with self._lock:
                self._failures = 0

    def failed(self) -> None:
        """The server has not answered."""
        with self._lock:
            self._failures += 1
            self._until = self._clock() + self._pause()

    def _pause(self) -> float:
        return float(min(LONGEST, PAUSE * 2 ** min(32, max(0, self._failures - FAILURES))))
