"""The intermediate form: a graph of ops on values with static shapes.

Shapes are those of one sample, with the batch dimension of size 1 left where the exported program has it;
every sample of a batch is computed alike, so the batch never appears. A value is an input of the graph, a
constant, or an output of exactly one op. Each op class states its shapes; `check.py` enforces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.signature import Array

ReduceKind = Literal["sum", "mean", "prod", "max", "min", "any", "all"]
CellKind = Literal["lstm", "gru"]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of one sample. `data` is set for constants only."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: Array | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Op:
    """Base of all ops; fields beyond `inputs` and `outputs` are attributes."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(frozen=True, eq=False)
class Map(Op):
    """output[i] = expression(inputs[i]…), the inputs broadcast to the output's shape as NumPy does."""

    expression: Expression


@dataclass(frozen=True, eq=False)
class View(Op):
    """Base of the ops that only look at the elements of their input in another way."""


@dataclass(frozen=True, eq=False)
class Reshape(View):
    """The same elements in row-major order under another shape."""


@dataclass(frozen=True, eq=False)
class Permute(View):
    """output.shape[i] = input.shape[axes[i]]."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Expand(View):
    """Broadcast to the output's shape."""


@dataclass(frozen=True, eq=False)
class Slice(View):
    """`input[start : start + size·step : step]` along `axis`; a negative step reads backwards."""

    axis: int
    start: int
    step: int


@dataclass(frozen=True, eq=False)
class Window(View):
    """Sliding windows over the last `len(sizes)` axes: [..., spatial] → [..., positions, sizes]."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """The inputs one after another along `axis`."""

    axis: int


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """The input within a border of `fill`: `before[i]` elements ahead of axis i, the rest behind."""

    before: tuple[int, ...]
    fill: float


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """inputs (x [..., K], weight [N, K], bias [N], extras…) → [..., N].

    output = epilogue(x · weightᵀ + bias, extras…), the extras broadcast to the output; weight and bias are
    constants. Without an epilogue there are no extras.
    """

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """inputs (a [..., M, K], b [..., K, N], extras…) → [..., M, N] leading axes broadcast; see Linear."""

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """The input reduced over `axes`, which stay with size 1. "prod" and sums of integers wrap."""

    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ArgReduce(Op):
    """The int64 index of the first largest (or smallest) element over the last axis, which is dropped.

    NaN counts as largest (smallest), as in ATen.
    """

    largest: bool


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Over the last axis; with `log`, its logarithm."""

    log: bool


@dataclass(frozen=True, eq=False)
class Normalize(Op):
    """inputs (x [..., L], weight [L], bias [L], extras…): (x − mean) · rsqrt(var + epsilon) · weight + bias.

    Over the last axis, with the biased variance; without `center` it is RMS norm (mean 0). The epilogue is
    as in Linear.
    """

    epsilon: float
    center: bool
    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """One direction of one layer over a sequence.

    inputs: gates [S, G·H] (input projection with its bias), weight [G·H, H], bias [G·H] (of the recurrent
    part), initial hidden [H], for an LSTM initial cell [H]. outputs: y [S, H], last hidden [H], for an LSTM
    last cell [H]. G is 4 for an LSTM (input, forget, cell, output), 3 for a GRU (reset, update, new).
    `reverse` runs from the last step to the first.
    """

    cell: CellKind
    reverse: bool


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """input x [..., K] → codes uint8 [..., C], scales float32 [..., 1]: x ≈ (codes − 128) · scale, per row.

    C is K up to a multiple of 64; what follows the K codes is not defined. A row with a number that is not
    finite has the scale NaN.
    """


@dataclass(frozen=True, eq=False)
class QuantizedLinear(Op):
    """inputs (codes, scales, weight int8 [N, K], weight scales [N], bias [N], extras…) → [..., N].

    The Linear of (codes − 128) · scales and weight · weight scales, see Quantize; weight, its scales and bias
    are constants.
    """

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class QuantizedRecurrent(Op):
    """A Recurrent with inputs (gates, weight int8 [G·H, H], weight scales [G·H], bias, initial…).

    The state of each step is quantized as in Quantize before it is multiplied.
    """

    cell: CellKind
    reverse: bool


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """inputs (table [R, ...], int64 indices [...]) → [..., ...]: rows of the table. One outside fails."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole agent: ops in an order in which every value is computed before it is used."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ops: tuple[Op, ...]

    def values(self) -> Iterator[Value]:
        """Inputs, constants and op outputs, each once, in order of appearance."""
        seen: set[Value] = set()
        for value in (
            *self.inputs,
            *(v for op in self.ops for v in (*op.inputs, *op.outputs)),
            *self.outputs,
        ):
            if value not in seen:
                seen.add(value)
                yield value

    def producers(self) -> dict[Value, Op]:
        """The op that computes each value; inputs and constants are missing."""
        return {value: op for op in self.ops for value in op.outputs}

    def use_counts(self) -> dict[Value, int]:
        """How often each value is read by ops and returned by the graph."""
        counts: dict[Value, int] = {}
        for value in (*(v for op in self.ops for v in op.inputs), *self.outputs):
            counts[value] = counts.get(value, 0) + 1
        return counts
