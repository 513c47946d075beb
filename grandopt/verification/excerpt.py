"""Some of the observations that an oracle asks about, for builds that weigh their layers by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.signature import Array
from grandopt.verification.known import Known
from grandopt.verification.oracle import Oracle

KINDS = 24
"""Of so many kinds of observations there are rows, at most, a third of them ordinary ones."""


def excerpt(oracle: Oracle, alike: int) -> tuple[Array, ...]:
    """Observations that the oracle asks about, [n, *shape] per input, `alike` in a row of one kind: of
    ordinary draws or recorded observations, and where there are populations, of their worlds."""
    drawn = [item for item in oracle.known if item.case.kind == "drawn"]
    wide = () if oracle.wide is None else oracle.wide.known
    worlds = [item for item in wide if not item.dirty.all()]
    joined = tuple(np.concatenate(arrays) for arrays in zip(*(_clean(item) for item in drawn), strict=True))
    count = min(KINDS // 3 if worlds else KINDS, -(-len(joined[0]) // alike))
    parts = [_rows(joined, count * alike)]
    spread = np.linspace(0, len(worlds) - 1, min(len(worlds), KINDS - count), dtype=np.int64)
    parts += [_rows(_clean(worlds[place]), alike) for place in spread]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _clean(item: Known) -> tuple[Array, ...]:
    """Its rows without those that have a number which is not finite."""
    return tuple(array[~item.dirty] for array in item.case.inputs)


def _rows(arrays: Sequence[Array], count: int) -> tuple[Array, ...]:
    """So many rows, evenly spread; some of them twice where there are fewer."""
    places = np.linspace(0, len(arrays[0]) - 1, count, dtype=np.int64)
    return tuple(array[places] for array in arrays)
