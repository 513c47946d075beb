"""Places as C pointers: a tensor of T samples, the samples as its first axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.form import Op
from grandopt.compiler.backends.native.layout import Buffer, ValuePlace
from grandopt.compiler.backends.native.memory import Arena, padded_bytes
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.compiler.backends.native.render.weights import Weights
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.compiler.backends.native.strides import Shape, broadcast


@dataclass(frozen=True)
class RenderedOperand:
    """A pointer variable with the shape and the strides behind it, in elements."""

    name: str
    dtype: str
    shape: Shape
    strides: Shape

    def spread(self, shape: Shape) -> Shape:
        """Its strides when broadcast to `shape`; the samples stay the first axis, whatever the rank."""
        sample = 0 if self.shape[0] == 1 else self.strides[0]
        return (sample, *broadcast(self.shape[1:], self.strides[1:], shape[1:]))


@dataclass(frozen=True)
class Surroundings:
    """What pointers are made from: the scratch arena and what lies behind it, weights, samples per tile.

    `rectified` are the products whose rows are likely to have zeros. With `realtime`, no branch may depend on
    numbers.
    """

    arena: Arena
    workspace: Workspace
    weights: Weights
    tile: int
    rectified: frozenset[Op] = frozenset()
    realtime: bool = False

    def operand(self, name: str, place: ValuePlace) -> RenderedOperand:
        """The place as an operand of `tile` samples."""
        shape, strides = (self.tile, *place.shape), (self._sample(place.buffer), *place.strides)
        if place.buffer.kind == "constant":
            shape = (1, *place.shape)
        return RenderedOperand(name, place.buffer.dtype, shape, strides)

    def declaration(self, name: str, place: ValuePlace, written: bool) -> str:
        """The statement that makes the pointer."""
        ctype = C_TYPES[place.buffer.dtype]
        target = f"{ctype} *" if written else f"const {ctype} *"
        start = f" + {place.offset}" if place.offset else ""
        return f"{target} {name} = ({'' if written else 'const '}{ctype} *){self._base(place.buffer)}{start};"

    def work(self) -> str:
        """The statement that makes the pointer to the workspace."""
        return f"unsigned char *const work = scratch + {self.arena.size * self.tile};"

    def _base(self, buffer: Buffer) -> str:
        if buffer.value is not None:
            return f"({self.weights.pointer(buffer.value.constant)})"
        if buffer.kind == "scratch":
            return f"(scratch + {self.arena.offsets[buffer] * self.tile})"
        return f"{'in' if buffer.kind == 'input' else 'out'}[{buffer.index}]"

    def _sample(self, buffer: Buffer) -> int:
        """Elements from one sample to the next."""
        if buffer.kind == "scratch":
            return padded_bytes(buffer) // np.dtype(buffer.dtype).itemsize
        return 0 if buffer.kind == "constant" else buffer.elements
