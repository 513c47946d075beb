"""Kinds of draws for inputs of which nothing is known: in each world every feature has its own scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grandopt.signature import Array, TensorSpec

SMALLEST, LARGEST = 1e-3, 1e4
"""The scales that a feature may have."""

SHIFTS = (3.0, -3.0, 10.0, -10.0, 30.0, -30.0, 100.0, -100.0)
"""Where all features of a world lie together."""

Normal = Array
Make = Callable[[TensorSpec, int, Normal, np.random.Generator], Array]
"""Observations [rows, *shape] of one input in world number `int`, made of standard normal ones."""


def free_kinds(influence: Mapping[str, Array] | None) -> dict[str, Make]:
    """The kinds by name. With `influence`, by input how strongly each element [*shape] moves the outputs,
    there are some in which each feature has the scale that its weights suggest."""
    found: dict[str, Make] = {
        "ordinary": _ordinary,
        "scales from 1e-3 to 1e4": _scales,
        "offsets": _offsets,
        "shifted": _together,
        "one large feature": _one_large,
        "few large features": _few_large,
        "outliers": _outliers,
        "saturated": _saturated,
        "constant features": _constant,
    }
    if influence is not None:
        found |= {
            "scales that the weights suggest": _suggested(influence, spread=1.0, apart=False),
            "offsets that the weights suggest": _suggested(influence, spread=0.05, apart=True),
            "saturated where the weights suggest": _suggested(influence, spread=0.0, apart=True),
        }
    return found


def log_uniform(low: float, high: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Numbers whose logarithm is uniform."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), shape)))


def signs(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Fair coins of 1 and -1."""
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _chosen(spec: TensorSpec, count: int, rng: np.random.Generator) -> Array:
    """`count` elements of the input, as a mask [*shape]."""
    mask = np.zeros(spec.elements, dtype=bool)
    mask[rng.permutation(spec.elements)[: max(1, count)]] = True
    return mask.reshape(spec.shape)


def _ordinary(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    return normal


def _scales(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    return np.asarray(normal * log_uniform(SMALLEST, LARGEST, spec.shape, rng))


def _offsets(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    size = log_uniform(1.0, LARGEST / 3, spec.shape, rng)
    spread = size * log_uniform(1e-3, 0.3, spec.shape, rng)
    return np.asarray(signs(spec.shape, rng) * size + normal * spread)


def _together(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    shift = SHIFTS[world % len(SHIFTS)]
    return np.asarray(shift * rng.uniform(0.6, 1.4) + normal * abs(shift) / 3)


def _one_large(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    size = log_uniform(30.0, LARGEST, (), rng)
    return np.where(_chosen(spec, 1, rng), size * (1 + normal / 20), normal)


def _few_large(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    chosen = _chosen(spec, spec.elements // 20, rng)
    return np.where(chosen, normal * log_uniform(3.0, LARGEST / 10, spec.shape, rng), normal)


def _outliers(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    flat = normal.reshape(len(normal), -1).copy()
    places = rng.integers(flat.shape[1], size=len(flat))
    flat[np.arange(len(flat)), places] = signs((len(flat),), rng) * log_uniform(
        30.0, LARGEST, (len(flat),), rng
    )
    return flat.reshape(normal.shape)


def _saturated(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    stop = signs((), rng) * log_uniform(30.0, LARGEST, (), rng)
    return np.where(_chosen(spec, 1 + spec.elements // 30, rng), stop, normal)


def _constant(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
    fixed = _chosen(spec, spec.elements * 3 // 4, rng)
    return np.where(fixed, normal[:1] * (world % 2), normal)


def _suggested(influence: Mapping[str, Array], *, spread: float, apart: bool) -> Make:
    """Each feature at the scale at which it would weigh as much as the others: a network that was trained on
    a feature around 1000 has a weight of a thousandth for it."""

    def make(spec: TensorSpec, world: int, normal: Normal, rng: np.random.Generator) -> Array:
        strength = influence.get(spec.name, np.zeros(spec.shape))
        moving = strength[strength > 0]
        if not moving.size:
            return normal
        usual = float(np.median(moving))
        scale = np.clip(usual / np.where(strength > 0, strength, usual), SMALLEST, LARGEST)
        if not apart:
            return normal * scale
        large = scale >= 3.0
        if not large.any():
            large = _chosen(spec, 1, rng)
        size = scale * rng.uniform(0.5, 2.0)
        return np.where(
            large, signs((), rng) * size + normal * size * spread, normal * np.minimum(scale, 3.0)
        )

    return make
