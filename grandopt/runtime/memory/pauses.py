"""How long garbage collections hold up the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LAST = 1024
"""Pauses per generation of which the percentiles are taken."""
RECENT = 8


@dataclass(frozen=True)
class PauseStats:
    """Collections of one generation, `idle` ones at moments that the caller named, the others amid the work.

    Times are in seconds; the percentiles are of the last 1024 and None before the first.
    """

    generation: int
    idle: bool
    count: int
    seconds: float
    longest: float
    p50: float | None
    p99: float | None
    collected: int
    uncollectable: int


class _Row:
    def __init__(self) -> None:
        self.count = self.collected = self.uncollectable = 0
        self.seconds = self.longest = 0.0
        self.last: deque[float] = deque(maxlen=LAST)


class Pauses:
    """A callback for `gc.callbacks` that times collections. `clock` gives seconds.

    Python runs one collection at a time, and calls this before and after it on the thread that collects.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[tuple[int, bool], _Row] = {}
        self._start: float | None = None
        self.idle_thread: int | None = None
        """The thread whose collections are asked for at an idle moment, while one is."""

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._start = self._clock()
            return
        start, self._start = self._start, None
        if start is None:  # began before this callback was there
            return
        seconds = self._clock() - start
        idle = self.idle_thread == threading.get_ident()
        row = self._rows.setdefault((info["generation"], idle), _Row())
        row.count += 1
        row.seconds += seconds
        row.longest = max(row.longest, seconds)
        row.last.append(seconds)
        row.collected += info["collected"]
        row.uncollectable += info["uncollectable"]

    def expected(self, generation: int) -> float:
        """The longest of the last pauses that this generation caused at idle moments, 0 before the first."""
        row = self._rows.get((generation, True))
        return 0.0 if row is None else max(list(row.last)[-RECENT:])

    @property
    def amid_s(self) -> float:
        """Seconds of those that nobody asked for at an idle moment."""
        return sum(row.seconds for (_, idle), row in self._rows.copy().items() if not idle)

    def stats(self) -> tuple[PauseStats, ...]:
        """One line per generation and kind of moment."""
        lines = []
        for (generation, idle), row in sorted(self._rows.copy().items()):
            ordered = sorted(row.last)
            lines.append(
                PauseStats(
                    generation,
                    idle,
                    row.count,
                    row.seconds,
                    row.longest,
                    _at(ordered, 0.5),
                    _at(ordered, 0.99),
                    row.collected,
                    row.uncollectable,
                )
            )
        return tuple(lines)


def _at(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
