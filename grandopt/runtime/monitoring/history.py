"""The last figures of every agent and of the process, in memory that does not grow with them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.measures import MEASURES
from grandopt.signature import Array

COLUMNS = {name: column for column, name in enumerate(MEASURES, start=1)}


@dataclass(frozen=True)
class Series:
    """One figure over time: seconds since 1970, and the values, NaN where it could not be told."""

    times: Array
    values: Array


class History:
    """A ring of `keep` looks per agent; those of an agent that is watched no longer are forgotten.

    Thread-safe. Raises ConfigError for a `keep` below 1.
    """

    def __init__(self, keep: int) -> None:
        if keep < 1:
            raise ConfigError(f"a history keeps at least 1 look, got keep={keep}")
        self._keep = keep
        self._rings: dict[str, _Ring] = {}
        self._turn = threading.Lock()

    def add(self, wall: float, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the figures of one look, by agent and by name."""
        with self._turn:
            self._rings = {name: self._rings.get(name) or _Ring(self._keep) for name in figures}
            for name, told in figures.items():
                self._rings[name].add(wall, told)

    def series(self, agent: str, measure: str) -> Series:
        """One figure of an agent (PROCESS for the process), the oldest first; empty for an unknown agent.

        Raises ConfigError for a measure that there is none of.
        """
        if measure not in COLUMNS:
            raise ConfigError(f"there is no measure {measure!r}; there are {', '.join(COLUMNS)}")
        with self._turn:
            ring = self._rings.get(agent)
            rows = np.empty((0, len(COLUMNS) + 1)) if ring is None else ring.rows()
        return Series(rows[:, 0], rows[:, COLUMNS[measure]])


class _Ring:
    def __init__(self, keep: int) -> None:
        # Not filled: the memory of rows is taken when they are written, and only those are read.
        self._rows = np.empty((keep, len(COLUMNS) + 1))
        self._count = 0

    def add(self, wall: float, told: Mapping[str, float]) -> None:
        row = self._rows[self._count % len(self._rows)]
        row[0] = wall
        for name, column in COLUMNS.items():
            row[column] = told.get(name, math.nan)
        self._count += 1

    def rows(self) -> Array:
        first = self._count % len(self._rows)
        if self._count < len(self._rows):
            return self._rows[:first].copy()
        return np.roll(self._rows, -first, axis=0)
