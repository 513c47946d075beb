"""One observation in the form that its caller has it in, as the arrays of a call, and the outputs back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from grandopt.signature import Array, Signature


def as_arrays(signature: Signature, observation: Sequence[Any]) -> tuple[list[Array], bool, bool]:
    """What `Signature.prepare` makes of the arguments of a call, and whether torch tensors were among them.

    `observation` holds the inputs in order, or one mapping by input name.
    """
    values = observation
    if len(values) == 1 and isinstance(values[0], Mapping):
        values = signature.order(values[0])
    tensors = any(type(value).__module__.partition(".")[0] == "torch" for value in values)
    if tensors:
        from grandopt.runtime.executors.given import as_numpy  # torch's callers alone need it

        names = [spec.name for spec in signature.inputs] + [""] * len(values)
        values = tuple(as_numpy(name, value) for name, value in zip(names, values, strict=False))
    arrays, batched = signature.prepare(values)
    return arrays, batched, tensors


def as_given(results: tuple[Any, ...], batched: bool, tensors: bool) -> Any:
    """The outputs in the form of the inputs: without the batch, as tensors, and one output by itself."""
    if not batched:
        results = tuple(result[0] for result in results)
    if tensors:
        torch = sys.modules["torch"]
        results = tuple(torch.as_tensor(result) for result in results)
    return results[0] if len(results) == 1 else results
