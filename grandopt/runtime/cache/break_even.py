"""Whether a cache, or a level of one, saves more time than it takes."""

from __future__ import annotations

import logging
import statistics
import threading
from collections import deque
from collections.abc import Callable

SAMPLES = 128
"""Timed look-ups from which a level is judged."""
PATIENCE = 4
"""Judgements in a row that a level must lose: an empty level needs time to fill."""
PAUSE = 60.0
"""Seconds for which a level that loses is switched off at first; then it may try again. Each time that it
loses again doubles the pause."""
LONGEST = 3600.0
COMPUTATIONS = 64
"""Computations whose median says what one costs."""
_log = logging.getLogger(__name__)


class Savings:
    """What a computation costs, in seconds: the median of the last ones. Any thread may call any method."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=COMPUTATIONS)

    def computed(self, seconds: float) -> None:
        """A computation has taken so long."""
        self._seconds.append(seconds)

    @property
    def seconds(self) -> float | None:
        """None before the first computation."""
        taken = tuple(self._seconds)
        return statistics.median(taken) if taken else None


class CacheBreakEven:
    """Compares what a look-up in one level costs with what its hits save, and says when to leave it out.

    A look-up costs its median time. It saves the level's hit rate × the cost of a computation. Without
    `must_pay` a level is never left out. Thread safety: any thread may call any method. `clock` gives
    seconds.
    """

    def __init__(
        self, name: str, savings: Savings, clock: Callable[[], float], must_pay: bool = True
    ) -> None:
        self._name = name
        self._must_pay = must_pay
        self._savings = savings
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: deque[float] = deque(maxlen=4 * SAMPLES)
        self._window: list[float] = []
        self._hits = 0
        self._lost = 0
        self._pause = PAUSE
        self._until: float | None = None

    @property
    def on(self) -> bool:
        """Whether the level is to be used; a pause that is over ends here."""
        if self._until is None:
            return True
        with self._lock:
            if self._until is not None and self._clock() >= self._until:
                self._until = None
                _log.info("cache %s: tried again", self._name)
            return self._until is None

    def looked_up(self, seconds: float, hit: bool) -> bool:
        """A timed look-up: after SAMPLES of them the level is judged; whether it was just now."""
        with self._lock:
            self._samples.append(seconds)
            self._window.append(seconds)
            self._hits += hit
            if len(self._window) < SAMPLES:
                return False
            self._judge()
            return True

    def percentiles(self, *shares: float) -> list[float | None]:
        """Look-up times in seconds, each at one share (0.5: the median) of the last samples."""
        with self._lock:
            ordered = sorted(self._samples)
        if not ordered:
            return [None] * len(shares)
        return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]

    def _judge(self) -> None:
        cost = statistics.median(self._window)
        rate = self._hits / len(self._window)
        self._window.clear()
        self._hits = 0
        computing = self._savings.seconds
        if computing is None or self._until is not None or not self._must_pay:
            return
        if cost <= rate * computing:
            self._lost = 0
            return
        self._lost += 1
        if self._lost < PATIENCE:
            return
        self._lost = 0
        self._until = self._clock() + self._pause
        _log.warning(
            "cache %s: off for %.0f s, it does not pay: a look-up takes %.2f µs and saves %.2f µs "
            "(%.1f %% hits, a computation takes %.2f µs)",
            self._name,
            self._pause,
            1e6 * cost,
            1e6 * rate * computing,
            100 * rate,
            1e6 * computing,
        )
        self._pause = min(LONGEST, 2 * self._pause)
