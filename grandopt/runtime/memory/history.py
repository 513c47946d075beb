"""The last readings of a monitor, in memory that does not grow with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grandopt.runtime.memory.census import Census
from grandopt.runtime.memory.census_ring import CensusRing
from grandopt.runtime.memory.resident import Resident


@dataclass(frozen=True)
class MemoryReading:
    """The memory of a process at one `time` of the monitor's clock, in seconds.

    `pools` are the bytes of the monitored pools, `blocks` the number of Python's small objects.
    """

    time: float
    resident: Resident
    pools: int
    blocks: int
    census: Census | None = None


class History:
    """A ring of readings as plain numbers: objects that a monitor keeps would look like a leak to it.

    Not thread-safe: its monitor locks.
    """

    def __init__(self, keep: int, *, censuses: bool) -> None:
        self._rows = np.empty((keep, 6))  # not filled: only rows that were written are read
        self._count = 0
        self._censuses = CensusRing() if censuses else None

    def __len__(self) -> int:
        return min(self._count, len(self._rows))

    def add(self, reading: MemoryReading) -> None:
        """Keep a reading in the place of the oldest."""
        resident = reading.resident
        self._rows[self._count % len(self._rows)] = (
            reading.time,
            resident.all,
            math.nan if resident.unique is None else resident.unique,
            math.nan if resident.proportional is None else resident.proportional,
            reading.pools,
            reading.blocks,
        )
        if reading.census is not None and self._censuses is not None:
            self._censuses.add(self._count, reading.census)
        self._count += 1

    def readings(self) -> list[MemoryReading]:
        """All that are kept, the oldest first."""
        censuses = self._censuses.censuses() if self._censuses is not None else {}
        return [self._reading(number, censuses) for number in range(self._count - len(self), self._count)]

    def _reading(self, number: int, censuses: dict[int, Census]) -> MemoryReading:
        time, everything, unique, proportional, pools, blocks = self._rows[number % len(self._rows)].tolist()
        resident = Resident(int(everything), _whole(unique), _whole(proportional))
        return MemoryReading(time, resident, int(pools), int(blocks), censuses.get(number))


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
