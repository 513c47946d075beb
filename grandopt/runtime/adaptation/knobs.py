"""Settings that can be moved while serving, and when another value of one could matter."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grandopt.errors import ConfigError
from grandopt.runtime.adaptation.evidence import Evidence
from grandopt.runtime.scheduling.calibration import BatchCost

FULL = 0.05
"""The share of full batches from which on a higher limit could matter."""
BUSY = 0.3
"""The share of the workers' time from which on their number could matter."""
WAITING = 1.2
"""Rows per batch from which on some must have waited."""
PAUSED = 0.005
"""The share of the time in automatic garbage collections from which on their threshold could matter."""
FASTER = 0.05
"""What smaller batches should gain by the measured cost before they are tried."""

Worth = Callable[[Evidence], tuple[bool, bool]]
"""Whether a lower and whether a higher value could matter, in view of the last window."""


@dataclass(frozen=True)
class Knob:
    """One setting.

    `get` and `set` are called in the event loop's thread; `set` raises GrandoptError for a value that cannot
    be. `values` are the candidates, ascending; the setting may stand between them. `worth` says which
    direction is worth a trial; `below` gives, where it is known, the value that a lower one must be less
    than to change anything. `settle` is how many answers a new value needs until its effect shows, beyond
    what waits.
    """

    name: str
    unit: str
    get: Callable[[], int]
    set: Callable[[int], None]
    values: Sequence[int]
    worth: Worth
    below: Callable[[Evidence], int | None] = lambda evidence: None
    settle: Callable[[int], int] = lambda value: 0

    def __post_init__(self) -> None:
        if not self.values or list(self.values) != sorted(set(self.values)) or self.values[0] < 0:
            raise ConfigError(
                f"{self.name}: candidate values must ascend from 0 or more, got {list(self.values)}"
            )

    def candidates(self, evidence: Evidence) -> list[tuple[str, int]]:
        """The values worth a trial, named by where they lie.

        The next in each direction that could matter, and those after them, for where the next one is worse
        than both its neighbours.
        """
        now, bound = self.get(), self.below(evidence)
        lower, higher = self.worth(evidence)
        up = bisect.bisect_right(self.values, now)
        down = bisect.bisect_left(self.values, now if bound is None else min(now, bound)) - 1
        wanted = []
        for distance, word in enumerate(("", "much ")):
            wanted += [(f"{word}higher", up + distance)] if higher else []
            wanted += [(f"{word}lower", down - distance)] if lower else []
        return [(name, self.values[place]) for name, place in wanted if 0 <= place < len(self.values)]


def powers(first: int, last: int) -> tuple[int, ...]:
    """`first`, its doubles below `last`, and `last`."""
    values = [first]
    while values[-1] * 2 < last:
        values.append(values[-1] * 2)
    return (*values, last) if last > values[-1] else tuple(values)


def batch_limit(
    get: Callable[[], int], set_: Callable[[int], None], most: int, cost: Callable[[], BatchCost]
) -> Knob:
    """The most rows of one batch, from 1 to `most`, by what a batch was measured to `cost`.

    A higher limit can matter where batches are full. A lower one can where several workers share the work,
    where batches are larger than those in which a row costs least, or where workers that are idle between
    batches would answer more in halves of them, always busy. Elsewhere it only makes more batches of the
    same rows; and callers that were answered together, once they are split, can stay so: such a trial might
    do harm that putting the limit back does not undo.
    """

    def worth(evidence: Evidence) -> tuple[bool, bool]:
        size, line = evidence.common_size() or 1, cost()
        lower = evidence.after.workers > 1 or (line.cheapest is not None and size > line.cheapest)
        rows = evidence.rows_per_batch or 1.0
        present = rows * min(1.0, evidence.busy) / line.of(rows)
        lower = lower or (rows / 2) / line.of(rows / 2) > present * (1 + FASTER)
        return lower and size > 1, evidence.full_share >= FULL

    # Sizes are known to a power of two: half of that surely cuts the batches.
    return Knob(
        "batch limit",
        "rows",
        get,
        set_,
        powers(1, most),
        worth,
        below=lambda evidence: (evidence.common_size() or 1) // 2 + 1,
    )


class SharedWork:
    """How many batches are computed at once, while the batch limit lets them share what there is.

    Where everything that waits fits one batch, a second worker finds nothing to do: then `set` also moves the
    limit so that the workers together take the rows that one batch had, and puts it back with the old number.
    """

    def __init__(
        self,
        get: Callable[[], int],
        set_: Callable[[int], None],
        limit: Callable[[], int],
        set_limit: Callable[[int], None],
    ) -> None:
        self._get, self._set = get, set_
        self._limit, self._set_limit = limit, set_limit
        self._rows: int | None = None
        self._before: tuple[int, int, int] | None = None

    def worth(self, evidence: Evidence) -> tuple[bool, bool]:
        """Whether fewer or more workers could matter: where they are busy, and where requests wait."""
        fits = evidence.full_share < FULL
        self._rows = evidence.common_size() if fits else None
        waits = evidence.after.depth > 0 or (evidence.rows_per_batch or 0.0) >= WAITING
        busy = evidence.busy >= BUSY
        return busy, busy and waits

    def set(self, workers: int) -> None:
        """Compute so many batches at once from now on."""
        now, limit = self._get(), self._limit()
        self._set(workers)
        if self._before is not None and self._before[0] == workers and self._before[2] == limit:
            self._set_limit(self._before[1])
            self._before = None
        elif self._rows is not None and workers > now:
            shared = max(1, -(-min(limit, self._rows) * now // workers))
            self._set_limit(shared)
            self._before = (now, limit, shared)


def concurrency(
    get: Callable[[], int],
    set_: Callable[[int], None],
    limit: Callable[[], int],
    set_limit: Callable[[int], None],
    most: int,
) -> Knob:
    """How many batches are computed at once, from 1 to `most`; see `SharedWork` for what the limit has to do
    with it."""
    work = SharedWork(get, set_, limit, set_limit)
    values = tuple(range(1, most + 1)) if most <= 8 else powers(1, most)
    return Knob("concurrency", "batches", get, work.set, values, work.worth)


def cache_entries(get: Callable[[], int], set_: Callable[[int], None], most: int) -> Knob:
    """The entries that the cache's memory holds, from as many as now to `most`.

    More can matter where some are thrown out; fewer never make an answer faster. A new size shows its effect
    after as many answers as it has entries.
    """
    return Knob(
        "cache entries",
        "entries",
        get,
        set_,
        powers(get(), most),
        lambda evidence: (False, evidence.evictions > FULL * max(1, evidence.lookups)),
        settle=lambda entries: entries,
    )


def collector_young(get: Callable[[], int], set_: Callable[[int], None]) -> Knob:
    """The new objects that automatic garbage collections wait for.

    With more of them collections are rarer and longer. It can matter where collections hold up the process
    for more than `PAUSED` of the time.
    """
    return Knob(
        "collector young",
        "objects",
        get,
        set_,
        powers(6_250, 400_000),
        lambda evidence: (evidence.paused >= PAUSED, evidence.paused >= PAUSED),
    )
