"""The ring of inputs that calls rotate through, and where in it each call begins."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.signature import Array

Batch = Sequence[Array]
"""The inputs of one call."""

MIN_RING = 256
"""Different inputs that calls rotate through, at least."""


def slices(ring: Sequence[Array], batch: int) -> list[Batch]:
    """The ring cut into the inputs of single calls: per call, one C-contiguous [batch, *shape] per input.

    See `starts` for where the calls begin.
    """
    return [[array[i : i + batch] for array in ring] for i in starts(ring[0].shape[0], batch)]


def starts(rows: int, batch: int) -> range:
    """The first row of each call: end to end, or, where that does not make MIN_RING calls, each call one row
    after the one before. Large batches of large observations would otherwise not fit into the memory."""
    if rows >= MIN_RING * batch:
        return range(0, rows - batch + 1, batch)
    return range(max(0, rows - batch + 1))
