"""The last censuses of a monitor, in memory that does not grow with them."""

from __future__ import annotations

import numpy as np

from grandopt.runtime.memory.census import Census

CENSUSES = 48
"""Censuses that are kept."""
TYPES = 4096
"""Types that are told apart; what comes later is counted as OTHERS."""
OTHERS = "others"


class CensusRing:
    """Censuses as tables of counts and bytes, one row each. Not thread-safe: its monitor locks."""

    def __init__(self) -> None:
        # Filled with ones, so that the system gives the pages now and not one by one.
        self._counts = np.ones((CENSUSES, TYPES), np.int64)
        self._bytes = np.ones((CENSUSES, TYPES), np.int64)
        self._tensors = np.zeros((CENSUSES, 2), np.int64)
        self._numbers = np.full(CENSUSES, -1, np.int64)
        self._columns = {OTHERS: 0}
        self._taken = 0

    def add(self, number: int, census: Census) -> None:
        """Keep the census of the reading with that number, in the place of the oldest."""
        row = self._taken % CENSUSES
        self._taken += 1
        self._numbers[row] = number
        self._counts[row] = self._bytes[row] = 0
        self._tensors[row] = (census.tensors, census.tensor_bytes)
        for name, (count, size) in census.types.items():
            column = self._columns.get(name)
            if column is None:
                column = 0
                if len(self._columns) < TYPES:
                    column = self._columns[name] = len(self._columns)
            self._counts[row, column] += count
            self._bytes[row, column] += size

    def censuses(self) -> dict[int, Census]:
        """Those that are kept, by the number of their reading."""
        return {
            int(number): self._census(row) for row, number in enumerate(self._numbers.tolist()) if number >= 0
        }

    def _census(self, row: int) -> Census:
        counts, sizes = self._counts[row].tolist(), self._bytes[row].tolist()
        types = {
            name: (counts[column], sizes[column]) for name, column in self._columns.items() if counts[column]
        }
        tensors, tensor_bytes = self._tensors[row].tolist()
        return Census(types, tensors, tensor_bytes)
