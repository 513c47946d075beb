"""Seeded draws that fit a declared space."""

from __future__ import annotations

from typing import Any

import numpy as np

from grandopt.signature import Array, TensorSpec

UNBOUNDED = 1e6
"""A bound at least this far out says "any number" (environments write 3.4e38), not a range to draw from."""

INTEGER_SPAN = 15
"""Undeclared integers wider than 8 bits are drawn from 0 … 15, half-bounded ones from a span of 15."""


def draw(spec: TensorSpec, count: int, rng: np.random.Generator) -> Array:
    """`count` observations [count, *shape] of the spec's dtype that lie in its declared space.

    Per element: uniform between two bounds; normal(0, 1) without bounds; the bound plus or minus
    |normal(0, 1)| with one. Integers are uniform over their bounds, over 0 … 255 (uint8) or -128 … 127
    (int8) where none are declared; booleans are fair coins.
    """
    shape = (count, *spec.shape)
    if spec.dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if np.dtype(spec.dtype).kind in "iu":
        low, high = integer_range(spec)
        whole = rng.integers(low, high, size=shape, endpoint=True, dtype=np.int64)
        return np.asarray(whole.astype(spec.dtype))
    low, high = float_bounds(spec)
    normal = rng.standard_normal(shape)
    values = np.where(
        np.isfinite(low), low + np.abs(normal), np.where(np.isfinite(high), high - np.abs(normal), normal)
    )
    both = np.isfinite(low) & np.isfinite(high)
    span = np.where(both, high, 1.0) - np.where(both, low, 0.0)
    values = np.where(both, np.where(both, low, 0.0) + rng.random(shape) * span, values)
    return fitted(spec, values)


def float_bounds(spec: TensorSpec) -> tuple[Array, Array]:
    """The bounds of a float input, infinite where none is declared or where it is `UNBOUNDED` or more."""
    low, high = spec.bounds()
    return np.where(low <= -UNBOUNDED, -np.inf, low), np.where(high >= UNBOUNDED, np.inf, high)


def integer_range(spec: TensorSpec) -> tuple[Array, Array]:
    """The inclusive range [*shape] that integers of this spec are drawn from."""
    info = np.iinfo(spec.dtype)
    low, high = spec.bounds()
    first, last = (float(info.min), float(info.max)) if info.bits == 8 else (0.0, float(INTEGER_SPAN))
    low_default = first if info.bits == 8 else np.minimum(0.0, high - INTEGER_SPAN)
    high_default = last if info.bits == 8 else np.maximum(last, low + INTEGER_SPAN)
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), low_default, first))
    high = np.where(np.isfinite(high), high, high_default)
    return _whole(np.ceil(low), info), _whole(np.floor(high), info)


def fitted(spec: TensorSpec, values: Array) -> Array:
    """`values` clamped to the declared bounds and converted to the spec's dtype.

    The clamp is repeated after the conversion, because rounding to float32 can leave the space again.
    """
    low, high = spec.bounds()
    if np.dtype(spec.dtype).kind in "iu":
        first, last = integer_range(spec)
        return np.asarray(np.clip(np.rint(values), first, last), dtype=spec.dtype)
    limit = float(np.finfo(spec.dtype).max)
    inside = np.asarray(np.clip(np.clip(values, low, high), -limit, limit), dtype=spec.dtype)
    above = inside.astype(np.float64) > high
    below = inside.astype(np.float64) < low
    inside[above] = np.nextafter(inside[above], np.asarray(-np.inf, inside.dtype))
    inside[below] = np.nextafter(inside[below], np.asarray(np.inf, inside.dtype))
    return inside


def _whole(bound: Array, info: np.iinfo[np.integer[Any]]) -> Array:
    # float64 holds whole numbers exactly only up to 2^53; nothing is drawn from beyond.
    edge = 2.0**53
    first, last = max(float(info.min), -edge), min(float(info.max), edge)
    return np.asarray(np.clip(bound, first, last), dtype=np.int64)
