"""The intermediate form: a graph of ops on values with static shapes.

Shapes are those of one sample, with the batch dimension of size 1 left where the exported program has it;
every sample of a batch is computed alike, so the batch never appears. A value is an input of the graph, a
constant, or an output of exactly one op. Each op class names its inputs (see `operation.py`) and states
their shapes; `check.py` enforces both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grandopt.compiler.backends.native.attention import Attention as Attention
from grandopt.compiler.backends.native.convolve import Convolve as Convolve
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.operation import Op as Op
from grandopt.compiler.backends.native.operation import Operand, Operands
from grandopt.compiler.backends.native.operation import Value as Value

ReduceKind = Literal["sum", "mean", "prod", "max", "min", "any", "all"]
ScanKind = Literal["sum", "prod", "max", "min", "logsumexp"]
ScatterKind = Literal["set", "sum", "prod", "max", "min"]
CellKind = Literal["lstm", "gru"]


@dataclass(frozen=True, eq=False)
class Map(Op):
    """output[i] = expression(operands[i]…), the operands broadcast to the output's shape as NumPy does."""

    operands = Operands(0)

    expression: Expression


@dataclass(frozen=True, eq=False)
class Unary(Op):
    """Base of the ops that read one tensor."""

    x = Operand(0)


@dataclass(frozen=True, eq=False)
class View(Unary):
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
    """The parts one after another along `axis`."""

    parts = Operands(0)

    axis: int


@dataclass(frozen=True, eq=False)
class Pad(Unary):
    """The input within a border of `fill`: `before[i]` elements ahead of axis i, the rest behind."""

    before: tuple[int, ...]
    fill: float


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """x [..., K], weight [N, K], bias [N], extras… → [..., N].

    output = epilogue(x · weightᵀ + bias, extras…), the extras broadcast to it; none without an epilogue.
    """

    x = Operand(0)
    weight = Operand(1, constant=True)
    bias = Operand(2, constant=True)
    extras = Operands(3)

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """a [..., M, K], b [..., K, N], extras… → [..., M, N], leading axes broadcast; see Linear."""

    a = Operand(0)
    b = Operand(1)
    extras = Operands(2)

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class Reduce(Unary):
    """The input reduced over `axes`, which stay with size 1. "prod" and sums of integers wrap."""

    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ArgReduce(Unary):
    """The int64 index of the first largest (or smallest) element over the last axis, which is dropped.

    NaN counts as largest (smallest), as in ATen: the first one, or the last one with `last_nan`, as in
    ATen's pooling.
    """

    largest: bool
    last_nan: bool = False


@dataclass(frozen=True, eq=False)
class Softmax(Unary):
    """Over the last axis; with `log`, its logarithm."""

    log: bool


@dataclass(frozen=True, eq=False)
class Normalize(Op):
    """x [..., L], weight [L], bias [L], extras… → (x − mean) · rsqrt(var + epsilon) · weight + bias.

    Over the last axis, with the biased variance; without `center` it is RMS norm (mean 0).
    """

    x = Operand(0)
    weight = Operand(1)
    bias = Operand(2)
    extras = Operands(3)

    epsilon: float
    center: bool
    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """One direction of one layer over a sequence.

    gates [S, G·H] (input projection with its bias), weight [G·H, H], bias [G·H] (of the recurrent part),
    initial: hidden [H], for an LSTM cell [H] → y [S, H], last hidden [H], for an LSTM last cell [H]. G is 4
    for an LSTM (input, forget, cell, output), 3 for a GRU (reset, update, new). `reverse` runs from the last
    step to the first.
    """

    gates = Operand(0)
    weight = Operand(1, constant=True)
    bias = Operand(2, constant=True)
    initial = Operands(3)

    cell: CellKind
    reverse: bool


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """x [..., K], scaling → codes uint8 [..., C], scales float32 [..., 1]: per row,
    (x − offset) · factor ≈ (codes − 128) · scale, where scaling is offset [K] and factor [K], or nothing.

    C is K up to a multiple of 64; what follows the K codes is not defined. A row with a number that is not
    finite has the scale NaN. With `rectified`, there is no scaling, no number is below zero,
    and x ≈ codes · scale.
    """

    x = Operand(0)
    scaling = Operands(1, constant=True)

    rectified: bool = False


@dataclass(frozen=True, eq=False)
class QuantizedLinear(Op):
    """codes, scales, weight int8 [N, K], weight_scales [N], bias [N], extras… → [..., N].

    The Linear of (codes − 128) · scales, or with `rectified` of codes · scales, and weight · weight_scales,
    see Quantize.
    """

    codes = Operand(0)
    scales = Operand(1)
    weight = Operand(2, constant=True)
    weight_scales = Operand(3, constant=True)
    bias = Operand(4, constant=True)
    extras = Operands(5)

    epilogue: Expression | None = None
    rectified: bool = False


WithEpilogue = Linear | Convolve | MatMul | Attention | Normalize | QuantizedLinear
"""Ops whose result, or the scores of which, an expression of it and of their `extras` may follow."""


@dataclass(frozen=True, eq=False)
class QuantizedRecurrent(Op):
    """A Recurrent with weight int8 [G·H, H] and weight_scales [G·H].

    The state of each step is quantized as in Quantize before it is multiplied.
    """

    gates = Operand(0)
    weight = Operand(1, constant=True)
    weight_scales = Operand(2, constant=True)
    bias = Operand(3, constant=True)
    initial = Operands(4)

    cell: CellKind
    reverse: bool


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """table [R, ...], int64 indices [...] → [..., ...]: rows of the table. One outside fails."""

    table = Operand(0)
    indices = Operand(1)


@dataclass(frozen=True, eq=False)
class Scan(Unary):
    """Over the last axis: element i of the output combines elements 0 … i of the input.

    "max" and "min" have a second output, the int64 index of the last such element. NaN stays from where it
    comes first.
    """

    kind: ScanKind


@dataclass(frozen=True, eq=False)
class Sort(Unary):
    """outputs (values, int64 indices) of the input sorted over its last axis, equal elements in their order.

    NaN counts as largest.
    """

    descending: bool


@dataclass(frozen=True, eq=False)
class Scatter(Op):
    """base [N], int64 places [M], values [M] → [N]: the base, each value combined into its place.

    In order, so that of several values set at one place the last stays. A place outside fails the call.
    """

    base = Operand(0)
    places = Operand(1)
    values = Operand(2)

    kind: ScatterKind


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole agent: ops in an order in which every value is computed before it is used."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ops: tuple[Op, ...]

    def producers(self) -> dict[Value, Op]:
        """The op that computes each value; inputs and constants are missing."""
        return {value: op for op in self.ops for value in op.outputs}

    def use_counts(self) -> dict[Value, int]:
        """How often each value is read by ops and returned by the graph."""
        counts: dict[Value, int] = {}
        for value in (*(v for op in self.ops for v in op.inputs), *self.outputs):
            counts[value] = counts.get(value, 0) + 1
        return counts
