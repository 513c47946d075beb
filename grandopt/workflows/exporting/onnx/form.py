"""How the tensors of a file stand to those of the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grandopt.signature import Array, TensorSpec

Layout = Literal["rows", "layers"]


@dataclass(frozen=True)
class Port:
    """One tensor of the program, and its name and layout in the file.

    "rows" is the program's own layout, the batch first. "layers" is that of torch's recurrent layers: a state
    [B, L, H] of the program is [L, B, H] in the file, and [B, H] is [1, B, H].
    """

    name: str
    spec: TensorSpec
    layout: Layout = "rows"

    @property
    def inner(self) -> str:
        """The name of the program's own tensor in the file: the port's, where the layout is the same."""
        return self.name if self.layout == "rows" else f"{self.name}_rows"

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The sizes in the file."""
        if self.layout == "rows":
            return ("batch", *self.spec.shape)
        layers, width = self.spec.shape if len(self.spec.shape) == 2 else (1, *self.spec.shape)
        return (layers, "batch", width)

    def to_file(self, array: Array) -> Array:
        """A value of the program as the file takes it."""
        if self.layout == "rows":
            return array
        return array[np.newaxis] if array.ndim == 2 else np.ascontiguousarray(np.moveaxis(array, 1, 0))

    def from_file(self, array: Array) -> Array:
        """A value of the file as the program has it."""
        if self.layout == "rows":
            return array
        return array[0] if len(self.spec.shape) == 1 else np.ascontiguousarray(np.moveaxis(array, 0, 1))


@dataclass(frozen=True)
class Packed:
    """The recurrent state in one tensor [B, 1, M] of the file: its tensors, flat, one after the other."""

    taken: str
    given: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def width(self) -> int:
        """M."""
        return sum(spec.elements for spec in self.inputs)

    def to_file(self, arrays: Sequence[Array]) -> Array:
        """The states of the program as the file takes them."""
        return np.concatenate([array.reshape(array.shape[0], 1, -1) for array in arrays], axis=2)

    def from_file(self, array: Array) -> list[Array]:
        """The states of the file as the program has them."""
        ends = np.cumsum([spec.elements for spec in self.outputs])[:-1]
        parts = np.split(array.reshape(array.shape[0], -1), ends, axis=1)
        return [
            np.ascontiguousarray(part.reshape(-1, *spec.shape))
            for part, spec in zip(parts, self.outputs, strict=True)
        ]


@dataclass(frozen=True)
class Form:
    """A program as a host wants it: `inputs` and `outputs` in the program's order.

    What is `packed` has no port. `constants` are outputs that are always the same, `repeats` those that give
    another output again, by their names. `passed` names an input [B] that nothing reads, and the output that
    gives it back.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    packed: Packed | None = None
    constants: tuple[tuple[str, tuple[float, ...]], ...] = ()
    repeats: tuple[tuple[str, str], ...] = ()
    passed: tuple[str, str] | None = None
    opset: int | None = None
    """The newest opset that the host is sure to take; None for any."""
    batch: int | None = None
    """The rows that every call has; None for any number."""

    def port(self, name: str) -> Port:
        """The port of a tensor of the program; raises KeyError where it has none."""
        ports = {port.spec.name: port for port in (*self.inputs, *self.outputs)}
        return ports[name]
