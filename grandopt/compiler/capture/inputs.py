"""Inputs to capture with and to check captures with: seeded draws that fit the declared space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from grandopt.signature import Array, TensorSpec

BATCHES = (1, 2, 3, 7)
"""Batch sizes a capture is checked with: the two that frameworks like to specialise, and two odd ones."""

UNBOUNDED = 1e6
"""A declared bound beyond this is a limit of the number format, not of the space."""


@dataclass(frozen=True)
class Probe:
    """One set of inputs, and the words that name it in a message."""

    label: str
    inputs: tuple[torch.Tensor, ...]


def draw(specs: Sequence[TensorSpec], batch: int, seed: int) -> tuple[torch.Tensor, ...]:
    """One tensor [batch, *shape] per spec; the same seed gives the same tensors.

    Numbers are uniform between two declared bounds, normal and clipped where a bound is missing. Whole
    numbers without bounds are 0 or 1 (which every embedding table admits), bytes the full 0 … 255.
    """
    generator = np.random.default_rng(seed)
    return tuple(torch.from_numpy(_draw(spec, batch, generator)) for spec in specs)


def probes(specs: Sequence[TensorSpec], seed: int) -> tuple[Probe, ...]:
    """Draws of every size in BATCHES, then zeros, large and negative values as far as the space admits."""
    drawn = [Probe(f"a batch of {batch}", draw(specs, batch, seed + batch)) for batch in BATCHES]
    fills = (("zeros", 0.0), ("large values", 100.0), ("large negative values", -100.0))
    filled = [Probe(label, tuple(_filled(spec, 2, value) for spec in specs)) for label, value in fills]
    wide = tuple(_scaled(spec, value) for spec, value in zip(specs, draw(specs, 3, seed), strict=True))
    return (*drawn, *filled, Probe("widely spread values", wide))


def _draw(spec: TensorSpec, batch: int, generator: np.random.Generator) -> Array:
    shape = (batch, *spec.shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    low, high = spec.bounds()
    if dtype.kind in "iu":
        low, high = _whole_bounds(low, high, dtype)
        return generator.integers(low, high, shape, endpoint=True).astype(dtype)
    both = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED)
    uniform = np.where(both, low, 0.0) + generator.random(shape) * np.where(both, high - low, 0.0)
    normal = np.clip(generator.standard_normal(shape), low, high)
    return np.where(both, uniform, normal).astype(dtype)


def _whole_bounds(low: Array, high: Array, dtype: np.dtype) -> tuple[Array, Array]:
    if dtype == np.uint8:
        low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 255)
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 1, 0))
    high = np.where(np.isfinite(high), high, low + 1)
    return low.astype(np.int64), high.astype(np.int64)


def _filled(spec: TensorSpec, batch: int, value: float) -> torch.Tensor:
    dtype = np.dtype(spec.dtype)
    low, high = spec.bounds()
    if dtype.kind == "b":
        low, high = np.zeros(spec.shape), np.ones(spec.shape)
    elif dtype.kind in "iu":
        low, high = _whole_bounds(low, high, dtype)
    one = np.clip(np.full(spec.shape, value), low, high).astype(dtype)
    return torch.from_numpy(np.repeat(one[np.newaxis], batch, axis=0))


def _scaled(spec: TensorSpec, value: torch.Tensor) -> torch.Tensor:
    if not value.dtype.is_floating_point:
        return value
    low, high = (torch.from_numpy(bound) for bound in spec.bounds())
    return torch.clamp(value.double() * 1000.0, low, high).to(value.dtype)
