"""Large products over whole numbers: weights of 8 bits, what they multiply in codes of 16, sums of 32.

The range of what is multiplied is taken from calibration, with room above it, feature by feature where that
rounds less: a factor per feature goes into the weights, as in SmoothQuant (Xiao et al. 2023). Where a product
is only read by others of its kind, its sums become codes by a whole multiplier and a shift (Jacob et al.
2018), so that no floating-point number is in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import CellKind, Graph, Linear, Op, Recurrent, Value
from grandopt.compiler.backends.native.operation import Operand, Operands
from grandopt.compiler.backends.native.passes.codes import LEVELS, SCALES, channel_scales, codes_of
from grandopt.compiler.backends.native.simulate import Simulation
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

FEWEST_WEIGHTS = 256
"""Smaller products stay in float32: their codes and scales would save next to nothing."""
HEADROOM = 4.0
"""How far beyond the range of the calibration a number may go before it is cut off."""
MOST_CODE = 32767
LEAST_CODE = 2047
"""Codes of fewer steps than this, with the headroom taken off, would be worse than those of 8 bits."""
LARGEST_SUM = 2**31 - 2**24
"""What products may add up to; the rest is for the bias."""
DAMPING = 0.01
"""What is added to the squares of the rows, relative to their mean: inputs that the calibration hardly moved
are not relied on."""
MOST_TOGETHER = 2048
"""Of more inputs than this each is rounded by itself: what it takes grows with their cube."""
STATE = 4.0
"""Codes of a recurrent state reach so far: a step gives at most 1, what a host begins with may be more."""


@dataclass(frozen=True, eq=False)
class FixedCodes(Op):
    """x [..., K], offset [K], factor [K] → codes int16 [..., K], taint float32 [..., 1].

    codes = (x − offset) · factor, rounded, within ±limit. The taint is 0, or NaN for a row with a number that
    is not finite, of which the codes cannot tell.
    """

    x = Operand(0)
    offset = Operand(1)
    factor = Operand(2)

    limit: int


@dataclass(frozen=True, eq=False)
class FixedLinear(Op):
    """codes, taint, weight int8 [N, K], scale [N], bias [N], extras… → float32 [..., N]: see Linear."""

    codes = Operand(0)
    taint = Operand(1)
    weight = Operand(2)
    scale = Operand(3)
    bias = Operand(4)
    extras = Operands(5)

    epilogue: Expression | None = None


@dataclass(frozen=True, eq=False)
class FixedRelay(Op):
    """codes, weight int8 [N, K], bias int32 [N], multiplier int32 [N], shift int8 [N] → codes int16 [..., N].

    The sums, with their bias, times multiplier / 2^(31 + shift), within ±limit, of a `rectified` one not
    below 0.
    """

    codes = Operand(0)
    weight = Operand(1)
    bias = Operand(2)
    multiplier = Operand(3)
    shift = Operand(4)

    limit: int
    rectified: bool


@dataclass(frozen=True, eq=False)
class FixedRecurrent(Op):
    """A Recurrent with weight int8 [G·H, H] and scale [G·H]; its last output are the codes of a state."""

    gates = Operand(0)
    weight = Operand(1)
    scale = Operand(2)
    bias = Operand(3)
    initial = Operands(4)

    cell: CellKind
    reverse: bool
    limit: int


@dataclass(frozen=True)
class _Coding:
    """How a value becomes codes: (x − offset) · factor, within ±limit. `rows` of it that were seen are moved
    so, and in units of their ranges."""

    offset: Array
    factor: Array
    limit: int
    rows: Array


def fixed(graph: Graph, samples: Sequence[Array]) -> Graph:
    """The graph with its large products over codes. `samples` are observations, [n, *shape] per input.

    Raises UnsupportedError when there is no such product, or when an op cannot be followed.
    """
    products: dict[Value, list[Linear]] = {}
    for op in graph.ops:
        if isinstance(op, Linear) and _admits(op.weight.constant):
            products.setdefault(op.x, []).append(op)
    recurrences = [op for op in graph.ops if isinstance(op, Recurrent) and _admits(op.weight.constant)]
    if not products and not recurrences:
        raise UnsupportedError(
            f"{graph.name}: has no product of at least {FEWEST_WEIGHTS} weights, for which int8 could pay"
        )
    given = [
        array.reshape(len(array), *value.shape).astype(value.dtype)
        for array, value in zip(samples, graph.inputs, strict=True)
    ]
    seen = dict(zip(products, Simulation(graph, given).values(list(products)), strict=True))
    codings = {value: _coding(value, rows, products[value]) for value, rows in seen.items()}
    return replace(graph, ops=_Rewriting(graph, products, codings).ops())


class _Rewriting:
    def __init__(
        self, graph: Graph, products: dict[Value, list[Linear]], codings: dict[Value, _Coding]
    ) -> None:
        self._graph, self._products, self._codings = graph, products, codings
        self._codes: dict[Value, tuple[Value, Value]] = {}
        self._counts = graph.use_counts()

    def ops(self) -> tuple[Op, ...]:
        ops: list[Op] = []
        for op in self._graph.ops:
            if isinstance(op, Linear) and op in self._products.get(op.x, ()):
                ops += self._product(op)
            elif isinstance(op, Recurrent) and _admits(op.weight.constant):
                ops.append(_recurrent(op))
            else:
                ops.append(op)
        return tuple(ops)

    def _product(self, op: Linear) -> list[Op]:
        coding, made = self._codings[op.x], list[Op]()
        if op.x not in self._codes:
            codes = Value(f"{op.x.name}_codes", op.x.shape, "int16")
            taint = Value(f"{op.x.name}_taint", (*op.x.shape[:-1], 1), "float32")
            inputs = (
                op.x,
                _constant(op.x, "offset", coding.offset),
                _constant(op.x, "factor", coding.factor),
            )
            made.append(FixedCodes(inputs, (codes, taint), coding.limit))
            self._codes[op.x] = codes, taint
        codes, taint = self._codes[op.x]
        weight = op.weight.constant.astype(np.float64) / coding.factor.astype(np.float64)
        bias = op.bias.constant.astype(np.float64) + op.weight.constant.astype(np.float64) @ coding.offset
        scale = channel_scales(weight)
        coded = _constant(op.weight, "codes", rounded(weight, scale, coding.rows), "int8")
        relay = self._relay(op, codes, coded, scale.astype(np.float64), bias)
        if relay is not None:
            self._codes[op.output] = relay.output, taint
            return [*made, relay]
        rest = (_constant(op.weight, "scale", scale), _constant(op.bias, "moved", bias), *op.extras)
        return [*made, FixedLinear((codes, taint, coded, *rest), op.outputs, op.epilogue)]

    def _relay(self, op: Linear, codes: Value, coded: Value, scale: Array, bias: Array) -> FixedRelay | None:
        """The product whose sums become the next products' codes; None where something else reads it."""
        following = self._products.get(op.output, ())
        if not following or len(following) != self._counts[op.output]:
            return None
        if op.epilogue is not None and not _rectifies(op.epilogue):
            return None
        coding = self._codings[op.output]
        start = np.rint((bias - coding.offset) / scale)
        factor = scale * coding.factor.astype(np.float64)
        exponents = np.floor(np.log2(factor)) + 1
        if (
            coding.offset.any()
            or np.abs(start).max() >= 2**24
            or exponents.min() < -30
            or exponents.max() > 0
        ):
            return None
        multiplier = np.minimum(np.rint(factor * 2.0 ** (31 - exponents)), 2**31 - 1)
        inputs = (
            codes,
            coded,
            _constant(op.bias, "whole", start, "int32"),
            _constant(op.weight, "multiplier", multiplier, "int32"),
            _constant(op.weight, "shift", -exponents, "int8"),
        )
        output = Value(f"{op.output.name}_codes", op.output.shape, "int16")
        return FixedRelay(inputs, (output,), coding.limit, op.epilogue is not None)


def _recurrent(op: Recurrent) -> FixedRecurrent:
    limit = _limit(op.weight.constant.shape[1])
    factor = limit / STATE
    weight = op.weight.constant.astype(np.float64) / factor
    inputs = (
        op.gates,
        _constant(op.weight, "codes", codes_of(weight), "int8"),
        _constant(op.weight, "scale", channel_scales(weight)),
        op.bias,
        *op.initial,
    )
    codes = Value(f"{op.outputs[0].name}_codes", (op.weight.shape[1],), "int16")
    return FixedRecurrent(inputs, (*op.outputs, codes), op.cell, op.reverse, limit)


def _constant(like: Value, what: str, data: Array, dtype: str = "float32") -> Value:
    data = np.ascontiguousarray(data).astype(dtype)
    return Value(f"{like.name}_{what}", data.shape, dtype, data)


def _rectifies(epilogue: Expression) -> bool:
    return epilogue == ex.apply("relu", ex.arg(0, "float32"))


def _limit(inputs: int) -> int:
    """The largest code of which so many products with a weight of 8 bits can be added."""
    return min(MOST_CODE, LARGEST_SUM // (127 * inputs))


def _admits(weight: Array) -> bool:
    if weight.size < FEWEST_WEIGHTS or _limit(weight.shape[1]) < LEAST_CODE or not np.isfinite(weight).all():
        return False
    scales = channel_scales(weight)
    return bool(scales.min() >= SCALES[0] and scales.max() <= SCALES[1])


def _coding(value: Value, seen: Array, products: Sequence[Linear]) -> _Coding:
    """The codes of a value that was seen as [n, *shape], for the products that read it."""
    rows = seen.reshape(-1, value.shape[-1]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise UnsupportedError(f"{value.name}: none of the calibration's rows is finite there")
    low, high = rows.min(axis=0), rows.max(axis=0)
    middle = ((low + high) / 2).astype(np.float32)
    far = np.abs(middle) > high - low  # from zero, in its own terms
    offset = np.where(far, middle, np.float32(0))
    spread = np.maximum(np.abs(rows - offset).max(axis=0), np.abs(offset) * 2.0**-6)
    top = float(spread.max()) or 1.0
    limit = _limit(value.shape[-1])
    weight = np.concatenate([op.weight.constant for op in products]).astype(np.float64)
    options = (np.full(spread.shape, top), np.maximum(spread, top * 2.0**-12))
    ranges = min(options, key=lambda ranges: _error(rows - offset, weight, ranges))
    return _Coding(offset, (limit / (HEADROOM * ranges)).astype(np.float32), limit, (rows - offset) / ranges)


def rounded(weight: Array, scale: Array, rows: Array) -> Array:
    """Weights [N, K] as codes in units of `scale` [N], for inputs like `rows` [R, K].

    Input by input, and what rounding one changes is made good by those that follow, as far as they go
    together with it in the rows: GPTQ (Frantar et al. 2022).
    """
    left = weight.astype(np.float64) / scale.astype(np.float64)[:, np.newaxis]
    together = rows.T @ rows
    damping = DAMPING * float(np.trace(together)) / len(together)
    if not damping > 0.0 or len(together) > MOST_TOGETHER:
        return np.clip(np.rint(left), -LEVELS, LEVELS)
    inverse = np.linalg.inv(together + damping * np.eye(len(together)))
    upper = np.linalg.cholesky(inverse).T
    codes = np.empty_like(left)
    for column in range(left.shape[1]):
        codes[:, column] = np.clip(np.rint(left[:, column]), -LEVELS, LEVELS)
        lost = (left[:, column] - codes[:, column]) / upper[column, column]
        left[:, column + 1 :] -= np.outer(lost, upper[column, column + 1 :])
    return codes


def _error(rows: Array, weight: Array, ranges: Array) -> float:
    """How much rounding weights in these units changes, root mean square over outputs of their own size."""
    folded = weight * ranges
    units = channel_scales(folded).astype(np.float64)[:, np.newaxis]
    off = (rows / ranges) @ (np.rint(folded / units) * units - folded).T
    size = np.abs(rows @ weight.T).max(axis=0)
    return math.sqrt(float(np.mean(np.square(off / np.where(size > 0, size, 1.0)))))
