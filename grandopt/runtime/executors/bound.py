"""The arrays of a bound call, checked once, for engines whose binding does not do it."""

from __future__ import annotations

from typing import Any

import numpy as np

from grandopt.runtime.executors.refusal import Refusal
from grandopt.signature import Array, Signature, TensorSpec


def checked(signature: Signature, inputs: Any, outputs: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The same memory as arrays [B, *shape], which `Executor.run_into` takes, inputs and outputs.

    Raises SignatureError, with the tensor's name, for what a bound call cannot use as it is.
    """
    refuse = Refusal(signature)
    wanted = len(signature.inputs)
    for place, given, specs in ((0, inputs, signature.inputs), (wanted, outputs, signature.outputs)):
        if not isinstance(given, (tuple, list)) or len(given) != len(specs):
            refuse(place, given, "outputs" if place else "inputs")
    values, specs = (*inputs, *outputs), (*signature.inputs, *signature.outputs)
    batches = []
    for position, (spec, value) in enumerate(zip(specs, values, strict=True)):
        reason = _unusable(spec, value, written=position >= wanted)
        if reason is not None:
            refuse(position, value, reason)
        batches.append(-1 if value.ndim == len(spec.shape) else len(value))
    for position, batch in enumerate(batches):
        if batch == 0 or batch != batches[0]:
            refuse(position, values[position], "empty" if batch == 0 else "batch")
    arrays = [value.view(np.ndarray) for value in values]
    if batches[0] < 0:
        arrays = [array[np.newaxis] for array in arrays]
    for position in range(wanted, len(arrays)):
        if any(np.may_share_memory(arrays[position], other) for other in arrays[:position]):
            refuse(position, values[position], "overlap")
    return tuple(arrays[:wanted]), tuple(arrays[wanted:])


def _unusable(spec: TensorSpec, value: Any, *, written: bool) -> str | None:
    """Why an array cannot be used as it is."""
    if not isinstance(value, np.ndarray) or not value.flags.c_contiguous:
        return "layout"
    if written and not value.flags.writeable:
        return "layout"
    if value.dtype != np.dtype(spec.dtype):
        return "dtype"
    if value.shape not in (spec.shape, (*value.shape[:1], *spec.shape)):
        return "shape"
    return None if value.flags.aligned else "alignment"
