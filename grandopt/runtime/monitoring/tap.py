"""Rows of served batches, kept for a moment until the monitor looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        self._kept: list[tuple[int, list[bytes]]] = []
        self._inputs = 0
        self._like: list[tuple[np.dtype[Any], tuple[int, ...]]] = []

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> int | None:
        if self._rows >= ROWS:
            return ROWS  # a call for each row that is not kept would cost more than a small agent
        arrays = (*inputs, *outputs)
        if not self._like:
            self._inputs = len(inputs)
            self._like = [(array.dtype, array.shape[1:]) for array in arrays]
        rows = len(inputs[0])
        step = -(-rows // OF_ONE)
        kept = -(-rows // step)
        self._rows += kept
        self._kept.append((kept, [array[::step].tobytes() for array in arrays]))
        return None

    def take(self) -> TappedRows | None:
        """What was kept since the last call, the oldest first; None where that is nothing."""
        kept, self._kept = self._kept, []
        self._rows = 0
        if not kept:
            return None
        rows = sum(count for count, _ in kept)
        columns = zip(*(pieces for _, pieces in kept), strict=True)
        arrays = [
            np.frombuffer(bytearray().join(pieces), dtype).reshape(rows, *shape)
            for pieces, (dtype, shape) in zip(columns, self._like, strict=True)
        ]
        return TappedRows(tuple(arrays[: self._inputs]), tuple(arrays[self._inputs :]))

    @staticmethod
    def every(batches: int, requests: int) -> int:
        """In how many batches one is enough, where so many with so many requests come between two looks."""
        return max(1, min(OF_ONE * batches, requests) // ROWS)
