"""Int8 weights packed for dot products: four consecutive inputs of one output to a 32-bit word."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.render.weights import GRANULE
from grandopt.signature import Array

CENTRE = 128
"""The code of zero: activations are stored as unsigned codes, the first operand of the dot products."""
TILE = 16
"""Rows and columns of a tile of sums; a tile of weights has as many words in depth."""


def words(weight: Array, multiple: int = 1) -> Array:
    """[N, K] int8 as uint32 [N, W], W a multiple of `multiple`; missing inputs are zero."""
    padding = -weight.shape[1] % (4 * multiple)
    padded = np.pad(weight, ((0, 0), (0, padding)))
    return np.ascontiguousarray(padded).view("<u4")


def starts(weight: Array) -> Array:
    """What sums over codes start from, int32 [N], so that a code of CENTRE counts as zero."""
    return -CENTRE * weight.sum(axis=1, dtype=np.int32)


def by_gates(array: Array, gates: int) -> Array:
    """[gates · H, ...] as [blocks · gates · GRANULE, ...]: GRANULE units of each gate side by side.

    Missing units are zero.
    """
    hidden = array.shape[0] // gates
    rest = ((0, 0),) * (array.ndim - 1)
    split = np.pad(array.reshape(gates, hidden, *array.shape[1:]), ((0, 0), (0, -hidden % GRANULE), *rest))
    blocks = split.reshape(gates, -1, GRANULE, *array.shape[1:]).swapaxes(0, 1)
    return blocks.reshape(-1, *array.shape[1:])
