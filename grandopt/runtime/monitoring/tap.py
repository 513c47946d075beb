"""Rows of served batches, kept for a moment until the monitor looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array

BATCHES = 64
"""Batches that are kept between two looks of the monitor."""
ROWS = 16
"""Rows that are kept of one batch, evenly spaced in it."""


@dataclass(frozen=True)
class TappedRows:
    """Rows of one batch: arrays [n, *shape] in the order of the signature, owned by whoever has this."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


class Tap:
    """Is called with served batches, after their answers went out; the monitor takes what it kept.

    One thread calls it, another may `take`. A batch costs a copy of at most ROWS rows, and nothing once
    BATCHES of them wait: looking closely costs the service a bounded time.
    """

    def __init__(self) -> None:
        self._kept: list[TappedRows] = []

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        kept = self._kept
        if len(kept) < BATCHES:
            kept.append(TappedRows(_some(inputs), _some(outputs)))

    def take(self) -> list[TappedRows]:
        """What was kept since the last call, the oldest first."""
        kept, self._kept = self._kept, []
        return kept

    @staticmethod
    def every(batches: int) -> int:
        """In how many batches one is enough, where so many are served between two looks."""
        return max(1, batches // BATCHES)


def _some(arrays: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(np.array(array[:: -(-len(array) // ROWS)]) for array in arrays)
