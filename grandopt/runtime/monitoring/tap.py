"""Rows of served batches, kept for a moment until the monitor looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array

ROWS = 128
"""Rows that are kept between two looks of the monitor."""
OF_ONE = 16
"""Rows that are kept of one batch, evenly spaced in it."""


@dataclass(frozen=True)
class TappedRows:
    """Rows that were served: arrays [n, *shape] in the order of the signature, owned by whoever has this."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


class Tap:
    """Is called with served batches, after their answers went out; the monitor takes what it kept.

    One thread calls it, another may `take`. A batch costs a copy of at most OF_ONE rows, and nothing
    once ROWS of them wait: looking closely costs the service a bounded time.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._kept: list[tuple[tuple[Array, ...], tuple[Array, ...]]] = []

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> int | None:
        if self._rows >= ROWS:
            return ROWS  # a call for each row that is not kept would cost more than a small agent
        kept = _some(inputs)
        self._rows += len(kept[0])
        self._kept.append((kept, _some(outputs)))
        return None

    def take(self) -> TappedRows | None:
        """What was kept since the last call, the oldest first; None where that is nothing."""
        kept, self._kept = self._kept, []
        self._rows = 0
        if not kept:
            return None
        inputs, outputs = (zip(*arrays, strict=True) for arrays in zip(*kept, strict=True))
        return TappedRows(tuple(map(np.concatenate, inputs)), tuple(map(np.concatenate, outputs)))

    @staticmethod
    def every(batches: int, requests: int) -> int:
        """In how many batches one is enough, where so many with so many requests come between two looks."""
        return max(1, min(OF_ONE * batches, requests) // ROWS)


def _some(arrays: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(np.array(array[:: -(-len(array) // OF_ONE)]) for array in arrays)
