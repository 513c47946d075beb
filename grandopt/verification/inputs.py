"""The inputs that a candidate is verified with, and the ring of samples that it is measured with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grandopt.errors import VerificationError
from grandopt.signature import Array, Moments, Signature, TensorSpec

Kind = Literal["drawn", "edge", "beyond", "special", "population"]

BATCHES = (1, 2, 7, 32)
DRAWN_BATCHES = (*BATCHES, 32, 32, 32)
LARGE = 1e4
DENORMAL = 1e-40
RING = 256
JITTER = 1e-4


@dataclass(frozen=True)
class Case:
    """One call: its name, one array [B, *shape] per input, and how it is judged.

    "drawn": samples or draws, judged together. "edge": zeros, denormals, corners of a bounded space, each
    judged alone. "beyond": values far outside what an unbounded space suggests. "special": rows that hold
    NaN or infinities between rows that do not. "population": rows that go together, see `populations`.
    """

    name: str
    inputs: tuple[Array, ...]
    kind: Kind = "drawn"

    @property
    def batch(self) -> int:
        """Number of rows."""
        return int(self.inputs[0].shape[0])


def cases(
    signature: Signature,
    *,
    samples: Sequence[Array] | None = None,
    moments: Mapping[str, Moments] | None = None,
    seed: int = 0,
) -> tuple[Case, ...]:
    """Everything a candidate is fed.

    With `samples` (one array [N, *shape] per input) all of them are used, in batches of 1, 2, 7 and then
    32, repeated from the start where there are fewer than 42; without, 138 seeded draws in the same
    batches, which follow the `moments` of the inputs that have some. Then zeros, large values and denormals,
    clamped to the declared bounds, and NaN and infinities where an input is floating point. Raises
    VerificationError for an agent without inputs.
    """
    if not signature.inputs:
        raise VerificationError("an agent without inputs cannot be verified")
    rng = np.random.default_rng(seed)
    return (
        *_drawn(signature, samples, moments or {}, rng),
        *_edges(signature, rng),
        *_specials(signature, rng),
    )


def ring(
    signature: Signature,
    *,
    samples: Sequence[Array] | None = None,
    moments: Mapping[str, Moments] | None = None,
    count: int = RING,
    batch: int = 1,
    seed: int = 0,
) -> tuple[Array, ...]:
    """Inputs to measure with: one array [max(count, 256) * batch, *shape] per input.

    The rows are draws, which follow `moments`, or the user's samples in order, repeated as often as needed.
    Where there are fewer than 256 samples, the repetitions of floating-point inputs are moved by a seeded
    jitter of 1e-4 of the element's spread (or size), within the bounds, so that no call finds its input in a
    cache of results; integers and booleans are repeated as they are.
    """
    rows = max(count, RING) * batch
    rng = np.random.default_rng(seed)
    if samples is None:
        return drawn(signature, rows, rng, moments)
    recorded = samples[0].shape[0]
    index = np.arange(rows) % recorded
    jitter = recorded < RING
    return tuple(
        _jittered(spec, array, index, rng) if jitter and _is_float(spec) else array[index]
        for spec, array in zip(signature.inputs, samples, strict=True)
    )


def drawn(
    signature: Signature, rows: int, rng: np.random.Generator, moments: Mapping[str, Moments] | None = None
) -> tuple[Array, ...]:
    """Seeded draws of all inputs: one array [rows, *shape] each."""
    return tuple(draw(spec, rows, rng, (moments or {}).get(spec.name)) for spec in signature.inputs)


def _is_float(spec: TensorSpec) -> bool:
    return np.dtype(spec.dtype).kind == "f"


def _jittered(spec: TensorSpec, array: Array, index: Array, rng: np.random.Generator) -> Array:
    size = np.maximum(array.astype(np.float64).std(axis=0), np.abs(array.astype(np.float64)))
    step = JITTER * np.maximum(size, 1e-2)[index]
    noise = rng.uniform(-1.0, 1.0, size=step.shape) * step
    noise[: array.shape[0]] = 0.0  # the first round is the samples themselves
    moved = fitted(spec, array[index].astype(np.float64) + noise)
    moved[: array.shape[0]] = array[: moved.shape[0]]
    return moved


def _drawn(
    signature: Signature,
    samples: Sequence[Array] | None,
    moments: Mapping[str, Moments],
    rng: np.random.Generator,
) -> list[Case]:
    if samples is None:
        return [
            Case(f"draw {number} (batch {size})", drawn(signature, size, rng, moments))
            for number, size in enumerate(DRAWN_BATCHES)
        ]
    total = samples[0].shape[0]
    result: list[Case] = []
    start = 0
    while start < total or len(result) < len(BATCHES):
        size = BATCHES[min(len(result), len(BATCHES) - 1)]
        if len(result) >= len(BATCHES):
            size = min(size, total - start)
        index = np.arange(start, start + size) % total
        name = f"samples {start % total}… (batch {size})"
        result.append(Case(name, tuple(np.ascontiguousarray(array[index]) for array in samples)))
        start += size
    return result


def _edges(signature: Signature, rng: np.random.Generator) -> list[Case]:
    bounded = all(_is_bounded(spec) for spec in signature.inputs)
    zeros = tuple(_constant(spec, 0.0, 2) for spec in signature.inputs)
    large = tuple(_large(spec, 7, rng) for spec in signature.inputs)
    found = [Case("zeros", zeros, "edge"), Case("large values", large, "edge" if bounded else "beyond")]
    if any(_is_float(spec) for spec in signature.inputs):
        tiny = tuple(_tiny(spec, 7, rng) for spec in signature.inputs)
        found.append(Case("denormals", tiny, "edge"))
    return found


def _is_bounded(spec: TensorSpec) -> bool:
    """Whether somebody says how large it may be: its bounds, or a dtype that is a range by itself."""
    if _is_float(spec):
        return bool(np.isfinite(float_bounds(spec)).all())
    return (spec.low is not None and spec.high is not None) or np.dtype(spec.dtype).itemsize == 1


def _constant(spec: TensorSpec, value: float, rows: int) -> Array:
    if spec.dtype == "bool":
        return np.zeros((rows, *spec.shape), dtype=bool)
    return fitted(spec, np.full((rows, *spec.shape), value))


def _signs(spec: TensorSpec, rows: int, rng: np.random.Generator) -> Array:
    return np.where(rng.random((rows, *spec.shape)) < 0.5, -1.0, 1.0)


def _large(spec: TensorSpec, rows: int, rng: np.random.Generator) -> Array:
    if spec.dtype == "bool":
        return np.ones((rows, *spec.shape), dtype=bool)
    signs = _signs(spec, rows, rng)
    if not _is_float(spec):
        low, high = integer_range(spec)
        return np.where(signs > 0, high, low).astype(spec.dtype)
    low, high = float_bounds(spec)
    return fitted(spec, np.clip(signs * LARGE, low, high))


def _tiny(spec: TensorSpec, rows: int, rng: np.random.Generator) -> Array:
    if not _is_float(spec):
        return _constant(spec, 0.0, rows)
    return fitted(spec, _signs(spec, rows, rng) * DENORMAL)


def _specials(signature: Signature, rng: np.random.Generator) -> list[Case]:
    """For each of NaN, inf and -inf: a clean row, one row per float input with a single such element,
    a row full of them, a clean row; and the row with a single NaN on its own, as it is deployed."""
    floats = [place for place, spec in enumerate(signature.inputs) if _is_float(spec)]
    found = []
    for name, value in (("NaN", np.nan), ("inf", np.inf), ("-inf", -np.inf)) if floats else ():
        rows = len(floats) + 3
        arrays = tuple(draw(spec, rows, rng) for spec in signature.inputs)
        for row, place in enumerate(floats, start=1):
            flat = arrays[place].reshape(rows, -1)
            flat[row, rng.integers(flat.shape[1])] = value
            flat[rows - 2] = value
        found.append(Case(f"{name} in some rows", arrays, "special"))
        found.append(Case(f"{name} alone", tuple(array[1:2].copy() for array in arrays), "special"))
    return found


UNBOUNDED = 1e6
"""A bound at least this far out says "any number" (environments write 3.4e38), not a range to draw from."""

INTEGER_SPAN = 15
"""Undeclared integers wider than 8 bits are drawn from 0 … 15, half-bounded ones from a span of 15."""


def draw(spec: TensorSpec, count: int, rng: np.random.Generator, moments: Moments | None = None) -> Array:
    """`count` observations [count, *shape] of the spec's dtype that lie in its declared space.

    Per element: normal with the mean and spread of `moments` where they are given; else uniform between two
    bounds; normal(0, 1) without bounds; the bound plus or minus |normal(0, 1)| with one. Integers are uniform
    over their bounds, over 0 … 255 (uint8) or -128 … 127 (int8) where none are declared; booleans are fair
    coins.
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
    if moments is not None:
        mean, std = moments.arrays(spec.shape)
        return fitted(spec, mean + std * normal)
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
