"""How strongly each element of the inputs moves the outputs: what its weights say about its usual size."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from grandopt.signature import Array, Signature, TensorSpec
from grandopt.verification.inputs import draw, fitted
from grandopt.verification.known import Reference

ROWS = 4
"""Draws at which each element is moved."""

MOST_ELEMENTS = 4096
"""An agent with larger inputs (images) has no features of their own scales."""

STEP = 1.0
CALL = 256


def influence(
    signature: Signature, reference: Reference, states: Collection[str] = (), seed: int = 0
) -> dict[str, Array] | None:
    """By input, the mean size [*shape] of what moving one element by 1 does to the float outputs or scores.

    Only floating-point inputs that are no `states` are in it; None where there are none, or too many
    elements to ask about.
    """
    moving = [
        spec for spec in signature.inputs if spec.name not in states and np.dtype(spec.dtype).kind == "f"
    ]
    elements = sum(spec.elements for spec in moving)
    if not moving or elements > MOST_ELEMENTS:
        return None
    rng = np.random.default_rng([seed, 3])
    base = [draw(spec, ROWS, rng) for spec in signature.inputs]
    before = _answer(reference, base)
    return {spec.name: _of(signature, spec, reference, base, before) for spec in moving}


def _of(
    signature: Signature, spec: TensorSpec, reference: Reference, base: Sequence[Array], before: Array
) -> Array:
    place = [item.name for item in signature.inputs].index(spec.name)
    strength = np.zeros(spec.elements)
    per_call = max(1, CALL // ROWS)
    for start in range(0, spec.elements, per_call):
        moved = range(start, min(start + per_call, spec.elements))
        arrays = [np.concatenate([array] * len(moved)) for array in base]
        wide = arrays[place].astype(np.float64).reshape(len(moved), ROWS, -1)
        for number, element in enumerate(moved):
            wide[number, :, element] += STEP
        arrays[place] = fitted(spec, wide.reshape(arrays[place].shape))
        after = _answer(reference, arrays).reshape(len(moved), ROWS, -1)
        with np.errstate(invalid="ignore"):
            change = np.abs(after - before[np.newaxis]).mean(axis=(1, 2))
        strength[start : start + len(moved)] = np.where(np.isfinite(change), change, 0.0)
    return strength.reshape(spec.shape)


def _answer(reference: Reference, inputs: Sequence[Array]) -> Array:
    """Scores where there are some, else all float outputs side by side: [B, n]."""
    scores = reference.scores(inputs)
    if scores is not None:
        return scores
    rows = inputs[0].shape[0]
    floats = [array.reshape(rows, -1) for array in reference.outputs(inputs) if array.dtype.kind == "f"]
    return np.concatenate(floats, axis=1) if floats else np.zeros((rows, 1))
