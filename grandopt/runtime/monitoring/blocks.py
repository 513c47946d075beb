"""A rolling window of rows in blocks, and the means over it with their standard errors.

Observations that follow one another are alike, so a thousand of them say less than a thousand independent
ones. The method of batch means (Law and Kelton, "Simulation Modeling and Analysis") takes that into account:
the spread of the means of consecutive blocks shows how uncertain the mean of all is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array

BLOCKS = 32
FEWEST_BLOCKS = 8
"""With fewer the standard error itself is too uncertain."""


@dataclass(frozen=True)
class Window:
    """Means over the rows of a window [features], their standard errors, and the number of rows.

    `degrees` are the degrees of freedom of the standard errors.
    """

    mean: Array
    error: Array
    rows: int
    degrees: int

    def z(self, expected: Array, expected_error: Array | float = 0.0, degrees: int | None = None) -> Array:
        """How many standard errors the means are from `expected`, as a normal deviate.

        Student's t of these degrees is made one by the approximation of Wallace (1959); `degrees` are those
        of the expected values' own error, and the fewer of both count.
        """
        off = self.mean - expected
        error = np.hypot(self.error, expected_error)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(off == 0, 0.0, off / error)
        n = self.degrees if degrees is None else min(self.degrees, degrees)
        scale = (8 * n + 1) / (8 * n + 3)
        with np.errstate(over="ignore"):
            z: Array = np.copysign(scale * np.sqrt(n * np.log1p(t * t / n)), t)
        return z


@dataclass(frozen=True)
class Blocks:
    """The means [blocks, features] of consecutive blocks of `size` rows."""

    means: Array
    size: int

    def window(self) -> Window:
        """The mean over all rows, with its error."""
        blocks = len(self.means)
        mean = self.means.mean(axis=0)
        off = self.means - mean
        squares = (off**2).sum(axis=0)
        # Blocks that are alike still say less than so many: the factor of an autoregressive process.
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = (off[1:] * off[:-1]).sum(axis=0) / squares
        alike = np.clip(np.nan_to_num(alike), 0.0, 0.9)
        error = np.sqrt(squares / (blocks * (blocks - 1)) * (1 + alike) / (1 - alike))
        return Window(mean, error, blocks * self.size, blocks - 1)


class RollingBlocks:
    """The last BLOCKS blocks of `block` rows each, as sums; not thread-safe."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._sums: deque[Array] = deque(maxlen=BLOCKS)
        self._open: Array | float = 0.0
        self._count = 0

    def add(self, rows: Array) -> None:
        """Count rows [n, features] of float64, in the order of time."""
        while len(rows):
            room = self._block - self._count
            taken, rows = rows[:room], rows[room:]
            self._open = self._open + taken.sum(axis=0)
            self._count += len(taken)
            if self._count == self._block:
                self._sums.append(np.asarray(self._open))
                self._open, self._count = 0.0, 0

    def blocks(self) -> Blocks | None:
        """The whole blocks that are kept; None where they are too few."""
        if len(self._sums) < FEWEST_BLOCKS:
            return None
        return Blocks(np.stack(self._sums) / self._block, self._block)
