"""The inputs that a candidate is verified with, and the ring of samples that it is measured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grandopt.errors import VerificationError
from grandopt.signature import Array, Signature, TensorSpec
from grandopt.verification.draws import draw, fitted, float_bounds, integer_range

Kind = Literal["drawn", "edge", "beyond", "special"]

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
    NaN or infinities between rows that do not.
    """

    name: str
    inputs: tuple[Array, ...]
    kind: Kind = "drawn"

    @property
    def batch(self) -> int:
        """Number of rows."""
        return int(self.inputs[0].shape[0])


def cases(signature: Signature, *, samples: Sequence[Array] | None = None, seed: int = 0) -> tuple[Case, ...]:
    """Everything a candidate is fed.

    With `samples` (one array [N, *shape] per input) all of them are used, in batches of 1, 2, 7 and then
    32, repeated from the start where there are fewer than 42; without, 138 seeded draws in the same
    batches. Then zeros, large values and denormals, clamped to the declared bounds, and NaN and
    infinities where an input is floating point. Raises VerificationError for an agent without inputs.
    """
    if not signature.inputs:
        raise VerificationError("an agent without inputs cannot be verified")
    rng = np.random.default_rng(seed)
    return (*_drawn(signature, samples, rng), *_edges(signature, rng), *_specials(signature, rng))


def ring(
    signature: Signature,
    *,
    samples: Sequence[Array] | None = None,
    count: int = RING,
    batch: int = 1,
    seed: int = 0,
) -> tuple[Array, ...]:
    """Inputs to measure with: one array [max(count, 256) * batch, *shape] per input.

    The rows are draws, or the user's samples in order, repeated as often as needed. Where there are fewer
    than 256 samples, the repetitions of floating-point inputs are moved by a seeded jitter of 1e-4 of the
    element's spread (or size), within the bounds, so that no call finds its input in a cache of results;
    integers and booleans are repeated as they are.
    """
    rows = max(count, RING) * batch
    rng = np.random.default_rng(seed)
    if samples is None:
        return tuple(draw(spec, rows, rng) for spec in signature.inputs)
    recorded = samples[0].shape[0]
    index = np.arange(rows) % recorded
    jitter = recorded < RING
    return tuple(
        _jittered(spec, array, index, rng) if jitter and _is_float(spec) else array[index]
        for spec, array in zip(signature.inputs, samples, strict=True)
    )


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


def _drawn(signature: Signature, samples: Sequence[Array] | None, rng: np.random.Generator) -> list[Case]:
    if samples is None:
        return [
            Case(f"draw {number} (batch {size})", tuple(draw(spec, size, rng) for spec in signature.inputs))
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
    bounded = all(np.isfinite(float_bounds(spec)).all() for spec in signature.inputs if _is_float(spec))
    zeros = tuple(_constant(spec, 0.0, 2) for spec in signature.inputs)
    large = tuple(_large(spec, 7, rng) for spec in signature.inputs)
    found = [Case("zeros", zeros, "edge"), Case("large values", large, "edge" if bounded else "beyond")]
    if any(_is_float(spec) for spec in signature.inputs):
        tiny = tuple(_tiny(spec, 7, rng) for spec in signature.inputs)
        found.append(Case("denormals", tiny, "edge"))
    return found


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
