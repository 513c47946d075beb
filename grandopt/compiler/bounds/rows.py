"""Bounds through what looks at whole rows: normalisation and softmax."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.bounds.enclosure import SLACK, SMALLEST, UNIT, Enclosure, representable
from grandopt.compiler.bounds.functions import ACCURACY
from grandopt.signature import Array

SQUARED = 2.0**54
"""Rows of smaller numbers, 2¹⁶ at most, have a sum of squares in float32."""


def normalised(x: Enclosure, epsilon: float, *, center: bool) -> Enclosure:
    """(x − mean) / √(variance + epsilon) over the last axis.

    With the centred row c and its error d, z' − z = d / s' + c · (1/s' − 1/s). The root mean square is a
    norm, so that |s' − s| is at most that of d.
    """
    representable(x.size, SQUARED)
    length = x.middle.shape[-1]
    c = x.seen(_centred) if center else x
    if center:  # `rest` and `spread` are bounds, which do not cancel
        spread, rest = (part + part.mean(axis=-1, keepdims=True) for part in (x.spread, x.rest))
        c = Enclosure(c.middle, spread + SLACK * x.size, c.centre, c.symbols, rest + SLACK * x.size)
    at = np.sqrt(np.square(c.middle).mean(axis=-1, keepdims=True) + epsilon)
    wide = _rms(c.spread)
    exact_low = np.maximum(at - wide, np.sqrt(epsilon)) * (1 - SLACK)
    off = _rms(c.error)
    low = np.maximum(at - wide - off, np.sqrt(epsilon)) * (1 - SLACK)
    high = (at + wide + off) * (1 + SLACK)
    inverse, half = (1 / low + 1 / high) / 2, (1 / low - 1 / high) / 2
    largest = (np.abs(c.middle) + c.spread) * (off / (exact_low * low))
    middle = c.middle / at
    spread = c.spread / exact_low + np.abs(c.middle) * wide / (at * exact_low) + SLACK * (1 + np.abs(middle))
    result = Enclosure(
        middle,
        spread,
        c.centre * inverse,
        c.symbols * inverse,
        c.rest * inverse + half * c.error + largest,
    )
    # Rounding in float32: of the mean, of the differences, of the variance however it is summed, of the root.
    sums = (length + 8) * UNIT * 1.001
    absolute = x.size + x.size.mean(axis=-1, keepdims=True)
    off = 4 * sums * np.square(x.size).mean(axis=-1, keepdims=True) / low**2
    of_root = np.where(off < 0.5, off * (1 + 2 * off) / low, 2 / np.sqrt(epsilon))
    rounding = sums * absolute / low + c.size * (of_root + 8 * UNIT / low)
    return result.with_rest(rounding * (1 + SLACK) + SMALLEST)


def softmax(x: Enclosure) -> Enclosure:
    """Over the last axis: each share is largest where its own score is and the others are smallest."""
    exact = _shares(x.middle - x.spread, x.middle + x.spread)
    low, high = x.range()
    executed = _shares(low, high)
    middle, spread = (exact[0] + exact[1]) / 2, (exact[1] - exact[0]) / 2
    error = np.maximum(executed[1] - exact[0], exact[1] - executed[0])
    rounding = (ACCURACY + (x.middle.shape[-1] + 8) * UNIT) * executed[1] + SMALLEST
    none = np.zeros((0, *middle.shape))
    return Enclosure(middle, spread, np.zeros(middle.shape), none, error + rounding)


def _shares(low: Array, high: Array) -> tuple[Array, Array]:
    top = high.max(axis=-1, keepdims=True)
    least, most = np.exp(low - top), np.exp(high - top)
    others = 1.0 - np.eye(low.shape[-1])  # the sum of all others; a difference of sums would cancel
    with np.errstate(divide="ignore", invalid="ignore"):
        smallest = np.where(least > 0, least / (least + most @ others), 0.0)
        largest = np.where(most > 0, most / (most + least @ others), 0.0)
    return smallest * (1 - SLACK), largest * (1 + SLACK) + 2.0**-1000


def _centred(array: Array) -> Array:
    centred: Array = array - array.mean(axis=-1, keepdims=True)
    return centred


def _rms(array: Array) -> Array:
    rms: Array = np.sqrt(np.square(array).mean(axis=-1, keepdims=True)) * (1 + SLACK)
    return rms
