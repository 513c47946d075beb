"""From the box of the inputs to the bounds of the outputs: an exact graph and its execution, side by side.

The exact graph is one of the native engine's, in exact arithmetic. What is executed is the same graph, its
products over other weights: rounded to bfloat16, or codes with a scale (`QuantizedLinear` ops, whose outputs
are the values that `Linear` ops compute in the exact graph). Sums of n float32 products, in any order, are
off by n · 2⁻²⁴ of the sum of their magnitudes (Higham 2002, section 3.1), here with 4 roundings to spare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grandopt.compiler.backends.native.form import (
    Concat,
    Expand,
    Graph,
    Linear,
    Map,
    Normalize,
    Op,
    Permute,
    Quantize,
    QuantizedLinear,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Value,
)
from grandopt.compiler.backends.native.simulate import bfloat16
from grandopt.compiler.bounds.enclosure import (
    MOST,
    SLACK,
    SMALLEST,
    UNIT,
    Enclosure,
    aligned,
    exactly,
    product,
    representable,
)
from grandopt.compiler.bounds.expressions import of_expression
from grandopt.compiler.bounds.rows import normalised, softmax
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

FOLDED = 2.0**-22
"""What folding may have changed a product's weights and bias by, relative to each: four roundings."""
LEAST_TOP = 2.0**-118
"""The largest magnitude that a row of codes counts as having, at least."""
HALF_CODE, HALF_RECTIFIED_CODE = (1 + 2.0**-13) / 254, (1 + 2.0**-12) / 510
"""What a number is off by as a code, relative to the largest of its row, with the roundings of its scale; and
in a row without numbers below zero."""
BFLOAT16 = 2.0**-8
"""Relative error of one rounding to bfloat16."""


@dataclass(frozen=True)
class Execution:
    """How an exact graph is executed: the graph with its codes, the products over bfloat16 weights, and
    whether some feature level rounds their inputs to bfloat16, too."""

    graph: Graph
    bfloat16: frozenset[Op] = frozenset()
    rounds_inputs: bool = False


def propagate(
    exact: Graph, execution: Execution, inputs: Sequence[Enclosure], wanted: Sequence[Value]
) -> list[Enclosure]:
    """The bounds of the `wanted` values of the executed graph; raises UnsupportedError, naming the operator,
    where one has none."""
    found: dict[Value, Enclosure] = dict(zip(exact.inputs, inputs, strict=True))
    run = _Run(exact.producers(), execution, found)
    with np.errstate(over="ignore", invalid="ignore"):
        for op in execution.graph.ops:
            if all(value in found for value in wanted):
                break
            try:
                run.step(op)
            except UnsupportedError as error:
                raise UnsupportedError(f"{type(op).__name__} {op.outputs[0].name}: {error}") from error
    for value in wanted:
        if value not in found and value.data is not None:
            found[value] = exactly(value.data)
    return [found[value] for value in wanted]


class _Run:
    def __init__(
        self, producers: Mapping[Value, Op], execution: Execution, found: dict[Value, Enclosure]
    ) -> None:
        self._producers, self._execution, self._found = producers, execution, found
        self._codes: dict[Value, tuple[Quantize, Enclosure]] = {}
        self._symbols = 0

    def step(self, op: Op) -> None:
        if isinstance(op, Quantize):
            self._codes[op.outputs[0]] = op, self._quantized(op)
            return
        result = self._result(op).merged()
        representable(result.size)
        self._found[op.output] = result

    def _at(self, value: Value) -> Enclosure:
        if value not in self._found:
            if value.data is None:
                raise UnsupportedError(f"{value.name} has no bound")
            self._found[value] = exactly(value.data)
        return self._found[value]

    def _result(self, op: Op) -> Enclosure:
        shape = op.outputs[0].shape
        match op:
            case Map():
                given = [self._at(value) for value in op.inputs]
                return of_expression(op.expression, given).seen(lambda a: np.broadcast_to(a, shape))
            case Linear():
                return self._finished(op, self._linear(op), op.inputs[3:])
            case QuantizedLinear():
                return self._finished(op, self._quantized_linear(op), op.inputs[5:])
            case Normalize():
                weight, bias = (value.data for value in op.inputs[1:3])
                assert weight is not None
                assert bias is not None
                rows = normalised(self._symbolic(self._at(op.inputs[0])), op.epsilon, center=op.center)
                scaled = of_rows(rows, weight, bias)
                return self._finished(op, scaled, op.inputs[3:])
            case Softmax() if not op.log:
                return softmax(self._at(op.inputs[0]))
            case Reduce() if op.kind in ("sum", "mean"):
                return self._reduced(op)
            case Concat():
                return _joined([self._at(value) for value in op.inputs], op.axis)
            case Reshape() | Permute() | Expand() | Slice():
                return self._at(op.inputs[0]).seen(lambda array: _viewed(op, array))
        raise UnsupportedError("is not an operator with a bound")

    def _finished(
        self, op: Linear | QuantizedLinear | Normalize, result: Enclosure, extras: Sequence[Value]
    ) -> Enclosure:
        if op.epilogue is None:
            return result
        return of_expression(op.epilogue, [result, *(self._at(value) for value in extras)])

    def _linear(self, op: Linear) -> Enclosure:
        weight, bias = _constants(op)
        x = self._symbolic(self._at(op.inputs[0]))
        executed = weight
        if op in self._execution.bfloat16:
            executed = bfloat16(weight).astype(np.float64)
            if self._execution.rounds_inputs:
                x = self._symbolic(x.with_rest(BFLOAT16 * x.size + SMALLEST))
        result = product(x, weight, bias, executed, bias)
        sizes = x.size @ np.maximum(np.abs(executed), np.abs(weight)).T + np.abs(bias)
        representable(sizes)
        terms = weight.shape[1] + 4
        return result.with_rest((terms * UNIT * 1.001 + FOLDED) * sizes + terms * SMALLEST)

    def _quantized(self, op: Quantize) -> Enclosure:
        """The numbers that the codes stand for."""
        x = self._at(op.inputs[0])
        if op.inputs[1:]:
            offset, factor = (np.asarray(value.data, np.float64) for value in op.inputs[1:])
            moved = replace(x, middle=x.middle - offset).rounded(2)
            parts = (moved.middle, moved.spread, moved.centre, moved.symbols, moved.rest)
            x = Enclosure(*(part * factor for part in parts)).with_rest(np.asarray(SMALLEST))
        top = np.maximum(x.size.max(axis=-1, keepdims=True), LEAST_TOP)
        return self._symbolic(x.with_rest(top * (HALF_RECTIFIED_CODE if op.rectified else HALF_CODE)))

    def _quantized_linear(self, op: QuantizedLinear) -> Enclosure:
        source = self._producers[op.output]
        assert isinstance(source, Linear)
        weight, bias = _constants(source)
        quantize, codes = self._codes[op.inputs[0]]
        scaled = [value.data for value in op.inputs[2:5]]
        used = np.asarray(scaled[0], np.float64) * np.asarray(scaled[1], np.float64)[:, np.newaxis]
        moved = np.asarray(scaled[2], np.float64)
        executed, start = used, moved
        if quantize.inputs[1:]:  # weights and bias as they are for numbers that are not scaled
            offset, factor = (np.asarray(value.data, np.float64) for value in quantize.inputs[1:])
            executed = used * factor
            start = moved - executed @ offset
            x = self._at(source.inputs[0])
            codes = _unscaled(codes, x, offset, factor)
        result = product(codes, weight, bias, executed, start)
        sizes = codes.size @ np.maximum(np.abs(executed), np.abs(weight)).T + np.abs(bias) + np.abs(moved)
        if quantize.inputs[1:]:
            sizes = sizes + np.abs(executed) @ np.abs(offset)
        representable(sizes)
        return result.with_rest((5 * UNIT + FOLDED) * sizes + 4 * SMALLEST)

    def _reduced(self, op: Reduce) -> Enclosure:
        x = self._at(op.inputs[0])
        count = int(np.prod([x.middle.shape[axis] for axis in op.axes]))
        share = 1 / count if op.kind == "mean" else 1.0
        summed = x.seen(lambda array: array.sum(axis=op.axes, keepdims=True) * share)
        sizes = x.size.sum(axis=op.axes, keepdims=True) * share
        representable(sizes)
        summed = replace(summed, spread=summed.spread + SLACK * sizes)
        return summed.with_rest((count + 4) * UNIT * 1.001 * sizes + SMALLEST)

    def _symbolic(self, x: Enclosure) -> Enclosure:
        """The same with a symbol for the rest of each element."""
        elements = x.rest.size
        if not x.rest.any() or (self._symbols + elements) * elements > MOST:
            return x
        fresh = np.zeros((self._symbols + elements, *x.rest.shape))
        fresh[: len(x.symbols)] = x.symbols
        fresh.reshape(len(fresh), -1)[self._symbols + np.arange(elements), np.arange(elements)] = (
            x.rest.reshape(-1)
        )
        self._symbols += elements
        return Enclosure(x.middle, x.spread, x.centre, fresh, np.zeros(x.rest.shape))


def of_rows(rows: Enclosure, weight: Array, bias: Array) -> Enclosure:
    """rows · weight + bias, element by element, with both roundings."""
    sizes = rows.size * np.abs(weight) + np.abs(bias)
    scaled = Enclosure(
        rows.middle * weight + bias,
        rows.spread * np.abs(weight) + SLACK * sizes,
        rows.centre * weight,
        rows.symbols * weight,
        rows.rest * np.abs(weight),
    )
    return scaled.with_rest((3 * UNIT + FOLDED) * sizes + SMALLEST)


def _unscaled(codes: Enclosure, x: Enclosure, offset: Array, factor: Array) -> Enclosure:
    """What scaled codes stand for in terms of the numbers before: exact ones as they were, errors as large
    as they are there."""
    return replace(
        codes,
        middle=x.middle,
        spread=x.spread,
        **{name: getattr(codes, name) / factor for name in ("centre", "symbols", "rest")},
    )


def _constants(op: Linear) -> tuple[Array, Array]:
    weight, bias = (value.data for value in op.inputs[1:3])
    assert weight is not None
    assert bias is not None
    return weight.astype(np.float64), bias.astype(np.float64)


def _joined(parts: Sequence[Enclosure], axis: int) -> Enclosure:
    symbols = aligned([part.symbols for part in parts])
    middle, spread, centre, rest = (
        np.concatenate([getattr(part, name) for part in parts], axis=axis)
        for name in ("middle", "spread", "centre", "rest")
    )
    return Enclosure(middle, spread, centre, np.concatenate(symbols, axis=axis + 1), rest)


def _viewed(op: Reshape | Permute | Expand | Slice, array: Array) -> Array:
    shape = op.output.shape
    match op:
        case Reshape():
            return array.reshape(shape)
        case Permute():
            return array.transpose(op.axes)
        case Expand():
            return np.broadcast_to(array, shape)
        case Slice():
            return array.take(op.start + op.step * np.arange(shape[op.axis]), axis=op.axis)
