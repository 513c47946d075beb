"""From the outputs of earlier stages to the inputs of the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.scheduling.pipelines.stage import Reference
from grandopt.signature import FITS, Array, Signature, TensorSpec

Slots = list[tuple[Any, ...]]
"""What each stage gave, at the place of the stage; the request at place 0."""
Places = Mapping[Reference, tuple[int, int]]
"""Where a reference is found: the place of the stage, and that of the output."""
Pick = Callable[[Slots], Any]


class Fit:
    """Makes an array [*shape] of exactly one form; what has it already goes through as it is."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._shape, self._dtype = spec.shape, np.dtype(spec.dtype)
        self._signature = Signature((spec,))

    def __call__(self, value: Any) -> Array:
        if (
            type(value) is np.ndarray
            and value.dtype == self._dtype
            and value.shape == self._shape
            and value.flags.num & FITS == FITS
        ):
            return value
        (array,), batched = self._signature.prepare((value,))
        if batched:
            raise SignatureError(
                f"{self._spec.name}: a pipeline takes one observation at a time, {list(self._shape)}; got "
                f"{list(array.shape)}"
            )
        return array[0, ...]


def pick(parts: Sequence[Reference], places: Places) -> Pick:
    """What takes a source's value from the slots; several parts are joined along the last axis."""
    if len(parts) == 1:
        stage, output = places[parts[0]]
        return lambda slots: slots[stage][output]
    found = [places[part] for part in parts]
    names = " + ".join(str(part) for part in parts)

    def joined(slots: Slots) -> Array:
        try:
            return np.concatenate([slots[stage][output] for stage, output in found], axis=-1)
        except (ValueError, TypeError) as error:
            raise SignatureError(f"{names}: cannot be joined along the last axis: {error}") from error

    return joined
