"""An offset and a scale per feature for the products that read raw observations, found on recorded ones.

A row of codes has one scale. A price around 1000 beside returns around 0.01 therefore takes all the codes,
and the returns get none. Here the feature is moved by its offset and multiplied by a power of two before it
becomes a code; the weights take the inverse factor and the bias takes the offset, so that the product is
the same but for the codes. How much of the difference in size goes from the observations into the weights
is found as in SmoothQuant (Xiao et al. 2023), with half of it or all of it, whichever rounds less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.evaluate import evaluated
from grandopt.compiler.backends.native.form import Graph, Linear, Value
from grandopt.compiler.backends.native.passes.codes import LEVELS, SCALES, channel_scales
from grandopt.signature import Array

ROWS = 256
"""Rows that scales are chosen on, at most, spread over the samples."""
WORTHWHILE = 0.5
"""The error with scales, relative to the one without, below which they are worth two operations per input."""
STRENGTHS = (1.0, 0.5)
"""How much of a feature's size goes into the weights: all of it, or so much that both are of one size."""
STEADY = (1.0, 2.0**-6)
"""The least spread that a feature with an offset is taken to have, relative to that offset. With 1 a feature
that was constant when it was recorded may become anything else without taking the others' codes."""
NARROWEST = 2.0**-40
"""The smallest factor of a feature relative to the largest."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """What a feature x becomes: (x − offset) · factor, float32 [K] each; the factors are powers of two, at
    most 1."""

    offset: Array
    factor: Array

    def weight(self, weight: Array) -> Array:
        """The weights [N, K] that multiply scaled features, in float64."""
        return weight.astype(np.float64) / self.factor.astype(np.float64)

    def bias(self, weight: Array, bias: Array) -> Array:
        """The bias [N] beside them, in float64."""
        return bias.astype(np.float64) + weight.astype(np.float64) @ self.offset.astype(np.float64)


def scalings(
    graph: Graph, products: Mapping[Value, Sequence[Linear]], samples: Sequence[Array]
) -> dict[Value, Scaling]:
    """The scaling of each value that raw observations become before `products` read it, where one is due.

    `samples` are recorded observations, [n, *shape] per input. A value that cannot be followed to the inputs
    without a product has none.
    """
    rows = _rows(graph, set(products), samples)
    found = {}
    for value, seen in rows.items():
        weight = np.concatenate([op.weight.constant for op in products[value]])
        scaling = chosen(seen, weight)
        if scaling is not None:
            found[value] = scaling
    return found


def chosen(rows: Array, weight: Array) -> Scaling | None:
    """The scaling for observations [R, K] and weights [N, K] that rounds least; None where that is not
    `WORTHWHILE`."""
    rows = rows.astype(np.float64)
    plain = Scaling(np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32))
    limit = WORTHWHILE * _error(rows, weight, plain)
    best = None
    for option in _options(rows, weight):
        scales = channel_scales(option.weight(weight))
        if not (np.isfinite(scales).all() and scales.min() >= SCALES[0] and scales.max() <= SCALES[1]):
            continue
        error = _error(rows, weight, option)
        # The first ones hold for more than what was recorded: a later one must be clearly better.
        if error < (limit if best is None else 0.9 * limit):
            best, limit = option, error
    return best


def _options(rows: Array, weight: Array) -> Iterator[Scaling]:
    low, high = rows.min(axis=0), rows.max(axis=0)
    middle = ((low + high) / 2).astype(np.float32)
    far = np.abs(middle) > (high - low)  # from zero, in its own terms
    heaviest = np.abs(weight).max(axis=0).astype(np.float64)
    for steady in STEADY:
        offset = np.where(far, middle, 0).astype(np.float32)
        spread = np.abs(rows - offset).max(axis=0)
        spread = np.maximum(spread, steady * np.abs(offset))
        for strength in STRENGTHS:
            with np.errstate(divide="ignore", invalid="ignore"):
                size = spread**strength / (heaviest ** (1 - strength))
            yield Scaling(offset, _factors(size, heaviest, (spread > 0) & (heaviest > 0)))


def _factors(size: Array, heaviest: Array, counts: Array) -> Array:
    """Powers of two, at most 1, that bring the features which count to one size.

    One that was always 0, or that no weight reads, gets the smallest that leaves its weights no larger than
    all others: should it ever be something else, it takes as few codes as can be.
    """
    if not counts.any():
        return np.ones(size.shape, np.float32)
    factor = np.full(size.shape, NARROWEST)
    logarithm = -np.rint(np.log2(size[counts]))
    factor[counts] = np.exp2(np.maximum(logarithm - logarithm.max(), np.log2(NARROWEST)))
    least = heaviest / (heaviest[counts] / factor[counts]).max()
    least = np.exp2(np.ceil(np.log2(np.clip(least, NARROWEST, 1.0))))
    return np.where(counts, factor, least).astype(np.float32)


def _error(rows: Array, weight: Array, scaling: Scaling) -> float:
    """Root mean square of what rounding to codes changes, in units of what each output varies by."""
    exact = rows @ weight.T.astype(np.float64)
    scaled = (rows - scaling.offset) * scaling.factor
    top = np.abs(scaled).max(axis=1, keepdims=True)
    step = np.where(top > 0, top, 1.0) / LEVELS
    folded = scaling.weight(weight)
    units = channel_scales(folded).astype(np.float64)[:, np.newaxis]
    rounded = (np.rint(scaled / step) * step) @ (np.rint(folded / units) * units).T
    error = rounded + scaling.bias(weight, np.zeros(len(weight))) - exact
    varies = np.maximum(exact.std(axis=0), 1e-6 * np.abs(exact).max(axis=0))
    varies = np.where(varies > 0, varies, 1.0)
    return float(np.sqrt(np.mean(np.square(error / varies))))


def _rows(graph: Graph, values: set[Value], samples: Sequence[Array]) -> dict[Value, Array]:
    """The rows [R, K] that each of the values consists of on finite samples."""
    finite = [np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in samples]
    usable = np.flatnonzero(np.all(finite, axis=0))
    if not usable.size:
        return {}
    spread = _spread(usable, ROWS)
    parts: dict[Value, list[Array]] = {}
    for index in spread:
        given = [
            array[index].reshape(1, *value.shape).astype(value.dtype)
            for array, value in zip(samples, graph.inputs, strict=True)
        ]
        known = evaluated(graph, given)
        for value in values & known.keys():
            of_one = known[value].reshape(-1, value.shape[-1])
            parts.setdefault(value, []).append(_spread(of_one, -(-2 * ROWS // len(spread))))
    return {value: whole for value, rows in parts.items() if len(whole := _finite(np.concatenate(rows)))}


def _spread(rows: Array, count: int) -> Array:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), count), dtype=np.int64)]


def _finite(rows: Array) -> Array:
    finite: Array = rows[np.isfinite(rows).all(axis=1)]
    return finite
