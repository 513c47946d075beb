"""A tensor as it is exactly, and what an executed one can differ from it by: the arithmetic of sound bounds.

The exact value lies within `middle` ± `spread`. The executed value is the exact one plus an error of
`centre` + Σ `symbols`[i] · ε[i] ± `rest`, each ε[i] between −1 and 1 and the same in all tensors (affine
arithmetic, de Figueiredo & Stolfi 2004): what entered by one rounding may cancel further on.

Bounds are computed in float64 and must not be too small by its rounding. A sum of n terms is off by at most
n · 2⁻⁵³ of the sum of their magnitudes, and no tensor here has sums of more than 2¹⁶ terms: `SLACK` of these
magnitudes, 2⁻³⁶, is therefore added wherever a value is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.errors import UnsupportedError
from grandopt.signature import Array

SLACK = 2.0**-36
UNIT = 2.0**-24
"""Relative error of one rounding to float32."""
SMALLEST = 2.0**-126
"""Smaller results may count as zero."""
LARGEST = 2.0**126
"""Sums of magnitudes below this do not overflow in float32."""
MOST = 1 << 20
"""Numbers in `symbols`, at most; beyond, they are merged into `rest`, which is sound and wider."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """See above. `symbols` is [count, *shape], all others are of the tensor's shape; float64."""

    middle: Array
    spread: Array
    centre: Array
    symbols: Array
    rest: Array

    @property
    def radius(self) -> Array:
        """What the error is around its centre, at most."""
        total: Array = (np.abs(self.symbols).sum(axis=0) + self.rest) * (1 + SLACK)
        return total

    @property
    def error(self) -> Array:
        """The largest magnitude of the error."""
        return np.abs(self.centre) + self.radius

    @property
    def size(self) -> Array:
        """The largest magnitude of the exact and of the executed value."""
        size: Array = (np.abs(self.middle) + self.spread + self.error) * (1 + SLACK)
        return size

    def range(self) -> tuple[Array, Array]:
        """What exact and executed values lie between."""
        off = self.spread + self.radius + SLACK * self.size
        low = self.middle + np.minimum(self.centre, 0) - off
        return low, self.middle + np.maximum(self.centre, 0) + off

    def executed(self) -> tuple[Array, Array]:
        """What the executed values lie between."""
        off = self.spread + self.radius + SLACK * self.size
        return self.middle + self.centre - off, self.middle + self.centre + off

    def with_rest(self, more: Array) -> Enclosure:
        """With this much more error in every element."""
        return Enclosure(self.middle, self.spread, self.centre, self.symbols, self.rest + more)

    def rounded(self, roundings: float = 1.0) -> Enclosure:
        """After so many roundings to float32."""
        return self.with_rest(roundings * UNIT * (1 + SLACK) * self.size + SMALLEST)

    def seen(self, view: Callable[[Array], Array]) -> Enclosure:
        """The same elements in another order or shape; `view` is given arrays of the tensor's shape."""
        shape = view(self.middle).shape
        symbols = np.stack([view(part) for part in self.symbols]) if len(self.symbols) else None
        return Enclosure(
            view(self.middle),
            view(self.spread),
            view(self.centre),
            np.zeros((0, *shape)) if symbols is None else symbols,
            view(self.rest),
        )

    def merged(self) -> Enclosure:
        """With its symbols as intervals where they are too many."""
        if self.symbols.size <= MOST:
            return self
        none = np.zeros((0, *self.middle.shape))
        return Enclosure(self.middle, self.spread, self.centre, none, self.radius)


def representable(sizes: Array, largest: float = LARGEST) -> None:
    """Raise UnsupportedError where a magnitude may be so large that float32 overflows, or is not a number."""
    if not (sizes < largest).all():
        raise UnsupportedError("a value may leave the range of float32")


def exactly(middle: Array, spread: Array | None = None) -> Enclosure:
    """What is given as it is, without an error: a constant, or an input of `middle` ± `spread`."""
    middle = np.asarray(middle, np.float64)
    zero = np.zeros(middle.shape)
    spread = zero if spread is None else np.asarray(spread, np.float64)
    return Enclosure(middle, spread, zero, np.zeros((0, *middle.shape)), zero)


def aligned(parts: Sequence[Array]) -> list[Array]:
    """Symbols of several tensors, as many for each."""
    count = max(len(part) for part in parts)
    return [np.concatenate([part, np.zeros((count - len(part), *part.shape[1:]))]) for part in parts]


def broadcast(parts: Sequence[Enclosure]) -> list[Enclosure]:
    """Tensors of one shape, with as many symbols each."""
    shape = np.broadcast_shapes(*(part.middle.shape for part in parts))
    symbols = aligned([_lifted(part.symbols, len(shape)) for part in parts])
    return [
        Enclosure(
            np.broadcast_to(part.middle, shape),
            np.broadcast_to(part.spread, shape),
            np.broadcast_to(part.centre, shape),
            np.broadcast_to(own, (len(own), *shape)),
            np.broadcast_to(part.rest, shape),
        )
        for part, own in zip(parts, symbols, strict=True)
    ]


def _lifted(symbols: Array, dimensions: int) -> Array:
    missing = dimensions - (symbols.ndim - 1)
    return symbols.reshape(len(symbols), *(1,) * missing, *symbols.shape[1:])


def added(a: Enclosure, b: Enclosure, sign: float = 1.0) -> Enclosure:
    """a + sign · b, not rounded; the sign is 1 or −1."""
    a, b = broadcast((a, b))
    slack = SLACK * (a.size + b.size)
    return Enclosure(
        a.middle + sign * b.middle,
        a.spread + b.spread + slack,
        a.centre + sign * b.centre,
        a.symbols + sign * b.symbols,
        a.rest + b.rest + slack,
    )


def multiplied(a: Enclosure, b: Enclosure) -> Enclosure:
    """a · b, not rounded."""
    a, b = broadcast((a, b))
    slack = SLACK * a.size * b.size
    spread = np.abs(a.middle) * b.spread + np.abs(b.middle) * a.spread + a.spread * b.spread
    # (x + e)·(y + f) − x·y = x·f + y·e + e·f
    rest = np.abs(a.middle) * b.rest + np.abs(b.middle) * a.rest
    rest = rest + a.spread * b.error + b.spread * a.error + a.error * b.error
    return Enclosure(
        a.middle * b.middle,
        spread + slack,
        a.middle * b.centre + b.middle * a.centre,
        a.middle * b.symbols + b.middle * a.symbols,
        rest + slack,
    )


def transformed(x: Enclosure, value: Array, slopes: tuple[Array, Array]) -> Enclosure:
    """f(x), not rounded, for a function of the given `value` at the middle whose slope over all that x can be
    lies within `slopes`."""
    low, high = slopes
    middle, half = (low + high) / 2, (high - low) / 2
    steepest = np.maximum(np.abs(low), np.abs(high))
    slack = SLACK * (np.abs(value) + steepest * x.size)
    return Enclosure(
        value,
        steepest * x.spread + slack,
        middle * x.centre,
        middle * x.symbols,
        np.abs(middle) * x.rest + half * x.error + slack,
    )


def product(x: Enclosure, weight: Array, bias: Array, executed: Array, moved: Array) -> Enclosure:
    """x [..., K] · weightᵀ [N, K] + bias exactly, with other weights and bias where it is executed; not
    rounded."""
    exact = np.abs(x.middle) @ np.abs(weight).T + np.abs(bias)
    change, shift = executed - weight, moved - bias
    sizes = x.size @ np.maximum(np.abs(weight), np.abs(executed)).T + np.abs(bias) + np.abs(moved)
    return Enclosure(
        x.middle @ weight.T + bias,
        x.spread @ np.abs(weight).T + SLACK * exact,
        x.centre @ executed.T + x.middle @ change.T + shift,
        x.symbols @ executed.T,
        x.rest @ np.abs(executed).T + x.spread @ np.abs(change).T + 4 * SLACK * sizes,
    ).merged()
