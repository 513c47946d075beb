"""Kinds of draws for inputs of which something is known: within their bounds, or along their statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grandopt.signature import Array, Moments, TensorSpec
from grandopt.verification.free_kinds import Make, Normal, log_uniform, signs
from grandopt.verification.inputs import float_bounds, integer_range

FREE_CLIP = 10.0
"""How many standard deviations from the mean draws go where the agent does not clip."""

Along = Callable[[TensorSpec, float, Normal, np.random.Generator], Array]
"""Observations [rows, *shape] in standard deviations from the mean; the number is where the agent clips."""


def known_kinds(moments: Mapping[str, Moments]) -> dict[str, Make]:
    """The kinds by name: inputs with `moments` follow them, the others stay within their bounds."""
    return {
        "ordinary": _made(moments, _uniform, _normal),
        "at the bounds": _made(moments, _corners, _clipped),
        "some at the bounds": _made(moments, _edges, _some_clipped),
        "close together": _made(moments, _close, _shifted),
        "of many scales": _made(moments, _scaled, _spread),
    }


def _made(moments: Mapping[str, Moments], within: Make, along: Along) -> Make:
    def make(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
        if spec.name not in moments:
            return within(spec, world, normal, rng)
        held = moments[spec.name]
        mean, std = held.arrays(spec.shape)
        reach = held.clip if np.isfinite(held.clip) else FREE_CLIP
        return np.asarray(mean + std * along(spec, reach, normal, rng))

    return make


def _box(spec: TensorSpec) -> tuple[Array, Array]:
    if np.dtype(spec.dtype).kind == "f":
        return float_bounds(spec)
    low, high = integer_range(spec)
    return low.astype(np.float64), high.astype(np.float64)


def _uniform(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    low, high = _box(spec)
    return np.asarray(low + rng.random(normal.shape) * (high - low))


def _corners(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    low, high = _box(spec)
    return np.where(rng.random(normal.shape) < 0.5, low, high)


def _edges(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    few = rng.random(normal.shape) < max(0.1, 1.0 / spec.elements)
    inner = (_uniform, _close, _scaled)[world % 3](spec, world, normal, rng)
    return np.where(few, _corners(spec, world, normal, rng), inner)


def _close(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    low, high = _box(spec)
    middle = low + rng.random(spec.shape) * (high - low)
    return np.asarray(np.clip(middle + normal * (high - low) * log_uniform(0.01, 0.1, (), rng), low, high))


def _scaled(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    """Around 0, or the bound nearest to it: each world takes a share of the box, each feature one of that.

    The bounds of a large box are often only generous, so that the smallest worlds lie within 1 of the middle.
    """
    low, high = _box(spec)
    middle = np.clip(0.0, low, high)
    span = high - low
    least = min(1e-3, 1.0 / max(1.0, float(span.max(initial=1.0))))
    scale = span * log_uniform(least, 0.5, (), rng) * log_uniform(0.03, 1.0, spec.shape, rng)
    moved = np.where(middle == low, np.abs(normal), np.where(middle == high, -np.abs(normal), normal))
    return np.asarray(np.clip(middle + moved * scale, low, high))


def _normal(spec: TensorSpec, reach: float, normal: Normal, rng: np.random.Generator) -> Array:
    return normal


def _clipped(spec: TensorSpec, reach: float, normal: Normal, rng: np.random.Generator) -> Array:
    return signs(normal.shape, rng) * reach


def _some_clipped(spec: TensorSpec, reach: float, normal: Normal, rng: np.random.Generator) -> Array:
    few = rng.random(normal.shape) < max(0.1, 1.0 / spec.elements)
    return np.where(few, _clipped(spec, reach, normal, rng), normal)


def _shifted(spec: TensorSpec, reach: float, normal: Normal, rng: np.random.Generator) -> Array:
    return np.asarray(rng.uniform(-3.0, 3.0, spec.shape) + normal * log_uniform(0.05, 0.5, (), rng))


def _spread(spec: TensorSpec, reach: float, normal: Normal, rng: np.random.Generator) -> Array:
    return np.asarray(normal * log_uniform(0.03, max(0.1, reach / 2), spec.shape, rng))
