"""Whether the workload is still the one that settings were tried on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from grandopt.runtime.adaptation.evidence import Evidence
from grandopt.runtime.adaptation.paired import spread

ANCHOR, RECENT = 8, 4
"""Windows that say what the workload was, and that say what it is."""
FACTOR = math.log(1.5)
"""A rate, batch size or cost per row that moved by less is the same workload."""
SPREADS = 3.0


class ChangeDetector:
    """Compares the last windows with the first ones since `reset`.

    The workload has changed when the mean of the last `RECENT` windows' rate, rows per batch or workers' time
    per row is away from that of the first `ANCHOR` ones by 1.5 times, and by 3 times their spread. Because
    the first ones stay the measure, a slow drift is seen, too.
    """

    def __init__(self) -> None:
        self._anchor: list[tuple[float, ...]] = []
        self._recent: deque[tuple[float, ...]] = deque(maxlen=RECENT)

    @property
    def ready(self) -> bool:
        """Whether it knows the workload well enough to see a change."""
        return len(self._anchor) >= RECENT

    def reset(self) -> None:
        """What comes next is the measure."""
        self._anchor.clear()
        self._recent.clear()

    def changed(self, window: Evidence) -> str | None:
        """What has changed with this window, in words; None where nothing has. It must hold answers."""
        features = _features(window)
        if len(self._anchor) < ANCHOR:
            self._anchor.append(features)
        self._recent.append(features)
        if not self.ready or len(self._recent) < RECENT:
            return None
        for index, name in enumerate(("rate", "rows per batch", "time per row")):
            first = [each[index] for each in self._anchor]
            last = [each[index] for each in self._recent]
            moved = _mean(last) - _mean(first)
            if abs(moved) > max(FACTOR, SPREADS * spread(first)):
                return f"{name} {math.exp(_mean(first)):.4g} -> {math.exp(_mean(last)):.4g}"
        return None


def _features(window: Evidence) -> tuple[float, ...]:
    values = (window.rate, window.rows_per_batch or 1.0, window.row_ns or 1.0)
    return tuple(math.log(max(value, 1e-9)) for value in values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
