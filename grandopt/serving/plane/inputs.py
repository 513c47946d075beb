"""The inputs of a request, checked against the agent's, as the arrays of a batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grandopt.serving.plane.regions import Regions
from grandopt.serving.protocol.datatypes import datatype_of, from_raw
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InputTensor
from grandopt.signature import FITS, Array, TensorSpec


class InputKind(NamedTuple):
    """One input of an agent in the protocol's words; `shape` is that of one row."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def kinds_of(specs: Sequence[TensorSpec]) -> tuple[InputKind, ...]:
    """The inputs of a signature, in calling order."""
    return tuple(
        InputKind(spec.name, datatype_of(spec.dtype), spec.shape, np.dtype(spec.dtype)) for spec in specs
    )


class Inputs:
    """Checks the inputs of requests for one agent; at most `most_rows` rows come at once."""

    def __init__(self, model: str, specs: Sequence[TensorSpec], most_rows: int) -> None:
        self._model = model
        self.kinds = kinds_of(specs)
        self._names = tuple(kind.name for kind in self.kinds)
        self._most_rows = most_rows

    def arrays(self, given: Sequence[InputTensor], regions: Regions | None) -> tuple[Array, ...]:
        """One array [n, *shape] per input, in calling order, aligned and of the declared dtypes.

        Raises ProtocolError for a name, datatype or shape that is not the agent's, for inputs that are
        missing or twice there, and for unequal batches.
        """
        by_name = {tensor.name: tensor for tensor in given}
        if len(given) != len(self.kinds) or by_name.keys() != set(self._names):
            self._refuse_names([tensor.name for tensor in given])
        arrays = tuple(self.array(kind, by_name[kind.name], regions) for kind in self.kinds)
        rows = len(arrays[0])
        for kind, array in zip(self.kinds, arrays, strict=True):
            if len(array) != rows:
                raise self._invalid(
                    f"input {kind.name!r} has {len(array)} rows, input {self._names[0]!r} has {rows}; a "
                    f"batch has as many of each"
                )
        return arrays

    def array(self, kind: InputKind, tensor: InputTensor, regions: Regions | None) -> Array:
        """One input as an array [n, *shape]; raises as `arrays`."""
        shape = tensor.shape
        if tensor.datatype != kind.datatype:
            raise self._invalid(
                f"input {kind.name!r} has datatype {tensor.datatype!r:.40}, expected {kind.datatype}"
            )
        if len(shape) != len(kind.shape) + 1 or shape[1:] != kind.shape:
            raise self._invalid(
                f"input {kind.name!r} has shape {_shown(shape)}, expected {_shown((-1, *kind.shape))}: the "
                f"first dimension counts the rows"
            )
        if not 1 <= shape[0] <= self._most_rows:
            raise self._invalid(f"input {kind.name!r} has {shape[0]} rows, expected 1 to {self._most_rows}")
        data = tensor.data if tensor.region is None else self._shared(kind, tensor, regions)
        if data is None:
            raise self._invalid(f"input {kind.name!r} has no data")
        if data.dtype == bool:
            # A byte of the protocol may be any; the agent's code counts on 0 and 1.
            data = data.view(np.uint8) != 0
        return data if data.flags.num & FITS == FITS else np.require(data, requirements=("C", "A"))

    def _shared(self, kind: InputKind, tensor: InputTensor, regions: Regions | None) -> Array:
        if regions is None or tensor.region is None:
            raise ProtocolError(Code.UNSUPPORTED, "shared memory of clients is switched off")
        wanted = kind.dtype.itemsize * math.prod(tensor.shape)
        if tensor.region.byte_size != wanted:  # before anything is copied
            raise self._invalid(
                f"input {tensor.name!r}: {list(tensor.shape)} of {tensor.datatype} takes {wanted} bytes, its "
                f"part of region {tensor.region.name!r} has {tensor.region.byte_size}"
            )
        return from_raw(regions.read(tensor.region), tensor.datatype, tensor.shape, tensor.name)

    def _refuse_names(self, given: Sequence[str]) -> None:
        known = ", ".join(self._names)
        ((most, times),) = Counter(given).most_common(1) or [("", 0)]
        if times > 1:
            raise self._invalid(f"input {most!r:.100} is given {times} times")
        unknown = [name for name in given if name not in self._names]
        if unknown:
            raise self._invalid(f"there is no input {unknown[0]!r:.100}; the inputs are {known}")
        missing = [name for name in self._names if name not in given]
        raise self._invalid(f"input {missing[0]!r} is missing; the inputs are {known}")

    def _invalid(self, text: str) -> ProtocolError:
        return ProtocolError(Code.INVALID, f"{self._model}: {text}")


def _shown(shape: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, shape[:10]))
    return f"[{shown}, …]" if len(shape) > 10 else f"[{shown}]"
