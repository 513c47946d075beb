"""An agent's answer as the outputs of a response: those that were asked for, as they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grandopt.serving.plane.classification import best_classes
from grandopt.serving.plane.regions import Regions
from grandopt.serving.protocol.datatypes import BYTES, bytes_to_raw, datatype_of
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import OutputRequest, OutputTensor
from grandopt.signature import Array, TensorSpec

_made = tuple.__new__


class OutputKind(NamedTuple):
    """One output of an agent in the protocol's words; `shape` is that of one row, `row` that with one."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    row: tuple[int, ...]


class Outputs:
    """Makes the outputs of responses of one agent."""

    def __init__(self, model: str, specs: Sequence[TensorSpec]) -> None:
        self._model = model
        self.kinds = tuple(
            OutputKind(spec.name, datatype_of(spec.dtype), spec.shape, (1, *spec.shape)) for spec in specs
        )
        self._places = {kind.name: place for place, kind in enumerate(self.kinds)}

    def check(self, wanted: Sequence[OutputRequest], regions: Regions | None) -> None:
        """Raise ProtocolError unless the agent has all outputs that are wanted, each once."""
        seen = set()
        for one in wanted:
            place = self._places.get(one.name)
            if place is None:
                known = ", ".join(self._places)
                raise self._invalid(f"there is no output {one.name!r:.100}; the outputs are {known}")
            if one.name in seen:
                raise self._invalid(f"output {one.name!r} is asked for twice")
            seen.add(one.name)
            if one.region is not None and regions is None:
                raise ProtocolError(Code.UNSUPPORTED, "shared memory of clients is switched off")
            if one.classification < 0:
                raise self._invalid(
                    f"output {one.name!r}: classification must be a count of classes from 1 on"
                )
            if one.classification and not self.kinds[place].shape:
                raise self._invalid(
                    f"output {one.name!r} has one number a row, and no classes to choose from"
                )

    def one_row(self, answer: Sequence[Array]) -> tuple[OutputTensor, ...]:
        """All outputs, of one observation [*shape] each, as a batch of one."""
        if len(answer) == 1:  # as `OutputTensor(…)`, in a third of the time
            name, datatype, _, row = self.kinds[0]
            return (_made(OutputTensor, (name, datatype, row, answer[0][None], None)),)
        return tuple(
            [
                OutputTensor(kind.name, kind.datatype, kind.row, output[None])
                for kind, output in zip(self.kinds, answer, strict=True)
            ]
        )

    def tensors(
        self, answer: Sequence[Array], wanted: Sequence[OutputRequest], regions: Regions | None
    ) -> tuple[OutputTensor, ...]:
        """The outputs that are wanted, all without any, from arrays [n, *shape]."""
        if not wanted:
            return tuple(
                OutputTensor(kind.name, kind.datatype, output.shape, output)
                for kind, output in zip(self.kinds, answer, strict=True)
            )
        return tuple(self._tensor(answer[self._places[one.name]], one, regions) for one in wanted)

    def _tensor(self, output: Array, wanted: OutputRequest, regions: Regions | None) -> OutputTensor:
        datatype = self.kinds[self._places[wanted.name]].datatype
        if wanted.classification:
            output, datatype = best_classes(output, wanted.classification), BYTES
        if wanted.region is None or regions is None:
            return OutputTensor(wanted.name, datatype, output.shape, output)
        raw = bytes_to_raw(output) if datatype == BYTES else np.ascontiguousarray(output).tobytes()
        if len(raw) > wanted.region.byte_size:
            raise self._invalid(
                f"output {wanted.name!r} has {len(raw)} bytes, its part of region {wanted.region.name!r} has "
                f"{wanted.region.byte_size}"
            )
        regions.write(wanted.region, raw)
        region = wanted.region._replace(byte_size=len(raw))
        return OutputTensor(wanted.name, datatype, output.shape, None, region)

    def _invalid(self, text: str) -> ProtocolError:
        return ProtocolError(Code.INVALID, f"{self._model}: {text}")
