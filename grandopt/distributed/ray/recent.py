"""How long the calls of the last seconds took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

WINDOW_S = 10.0
MOST = 4096
LEAST = 20
"""Calls below which nothing is said of their slowest hundredth."""


class RecentTimes:
    """Belongs to one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[tuple[float, float]] = deque(maxlen=MOST)

    def note(self, seconds: float) -> None:
        """A call ended just now."""
        self._times.append((self._clock(), seconds))

    def p99_s(self) -> float:
        """The 99th percentile in seconds; 0 where there were too few calls."""
        since = self._clock() - WINDOW_S
        while self._times and self._times[0][0] < since:
            self._times.popleft()
        if len(self._times) < LEAST:
            return 0.0
        return float(np.percentile([seconds for _, seconds in self._times], 99.0))
