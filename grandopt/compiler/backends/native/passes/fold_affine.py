"""Scales and shifts by constants into the weights of the product before or after them.

The folded weights are computed in float64 and rounded once, so that the result differs from the original
by rounding only. A shift ahead of a product is folded only while it is small: W·(x − m) cancels where
W·x − W·m, with a large m, does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Graph, Linear, Map, Normalize, Op, Value
from grandopt.compiler.backends.native.passes.rewrite import rebuilt
from grandopt.signature import Array

LARGEST_SHIFT = 16.0
"""Largest folded shift ahead of a product, in units of the scaled input: costs at most 4 bits."""


@dataclass(frozen=True)
class Affine:
    """scale · x + shift, both float64 arrays that broadcast over the rows of x."""

    scale: Array
    shift: Array


def fold_affine(graph: Graph) -> Graph:
    """The graph in which affine Maps, norm weights and products in a row are one product where possible."""
    while (folded := _fold_one(graph)) is not None:
        graph = folded
    return graph


def _fold_one(graph: Graph) -> Graph | None:
    counts, producers = graph.use_counts(), graph.producers()
    for op in graph.ops:
        source = next((v for v in op.inputs if v.data is None), None)
        producer = None if source is None else producers.get(source)
        if source is None or producer is None or counts[source] != 1:
            continue
        pair = _folded(producer, op, source)
        if pair is not None:
            ops = [new for old in graph.ops for new in _replace(old, producer, op, pair)]
            return rebuilt(graph, ops, {})
    return None


def _replace(old: Op, producer: Op, op: Op, pair: tuple[Op, ...]) -> tuple[Op, ...]:
    if old is producer:
        return pair[:-1]
    return pair[-1:] if old is op else (old,)


def _folded(producer: Op, op: Op, source: Value) -> tuple[Op, ...] | None:
    """What the pair becomes: one op, or two with simpler weights; None if nothing can be folded."""
    match producer, op:
        case Map(), Linear() if (affine := affine_of(producer)) is not None:
            if np.abs(affine.shift).max(initial=0.0) > LARGEST_SHIFT:
                return None
            variable = next(v for v in producer.inputs if v.data is None)
            return (_scaled_input(op, variable, affine),)
        case Linear(), Map() if (affine := affine_of(op)) is not None:
            weight, bias = _constants(producer)
            scale = np.broadcast_to(affine.scale, bias.shape)
            return (_linear(producer.inputs[0], weight * scale[:, None], bias * scale + affine.shift, op),)
        case Normalize(), Linear() if producer.epilogue is None:
            weight, shift = _constants(producer)
            if (np.all(weight == 1) and np.all(shift == 0)) or np.abs(shift).max() > LARGEST_SHIFT:
                return None
            plain = _plain(producer)
            return plain, _scaled_input(op, plain.output, Affine(weight, shift))
        case Linear(), Linear():
            return _merged(producer, op)
    return None


def _merged(first: Linear, second: Linear) -> tuple[Op, ...] | None:
    """W₂·(W₁·x + b₁) + b₂ as one product, where that is not more work."""
    (w1, b1), (w2, b2) = _constants(first), _constants(second)
    if w2.shape[0] * w1.shape[1] > w1.size + w2.size:
        return None
    return (_linear(first.inputs[0], w2 @ w1, w2 @ b1 + b2, second),)


def _scaled_input(op: Linear, x: Value, affine: Affine) -> Linear:
    weight, bias = _constants(op)
    width = (weight.shape[1],)
    scale, shift = np.broadcast_to(affine.scale, width), np.broadcast_to(affine.shift, width)
    return _linear(x, weight * scale, bias + weight @ shift, op)


def _linear(x: Value, weight: Array, bias: Array, last: Op) -> Linear:
    name = last.output.name
    values = [
        Value(f"{name}_{part}", array.shape, "float32", array.astype(np.float32))
        for part, array in (("weight", weight), ("bias", bias))
    ]
    return Linear((x, *values), last.outputs)


def _plain(op: Normalize) -> Normalize:
    length = op.inputs[1].shape
    weight = Value(f"{op.output.name}_ones", length, "float32", np.ones(length, np.float32))
    bias = Value(f"{op.output.name}_zeros", length, "float32", np.zeros(length, np.float32))
    return Normalize((op.inputs[0], weight, bias), op.outputs, op.epsilon, op.center)


def _constants(op: Op) -> tuple[Array, Array]:
    weight, bias = op.inputs[1].data, op.inputs[2].data
    assert weight is not None
    assert bias is not None
    return weight.astype(np.float64), bias.astype(np.float64)


def affine_of(op: Map) -> Affine | None:
    """The Map as scale · x + shift with constants along the last axis at most, or None if it is not that."""
    variable = [value for value in op.inputs if value.data is None]
    dtypes = {value.dtype for value in (*op.inputs, op.output)}
    if len(variable) != 1 or variable[0].shape != op.output.shape or dtypes != {"float32"}:
        return None
    if any(v.data is not None and any(n > 1 for n in v.shape[:-1]) for v in op.inputs):
        return None
    return _affine(op.expression, op.inputs)


def _affine(expression: Expression, operands: tuple[Value, ...]) -> Affine | None:
    zero, one = np.zeros(()), np.ones(())
    if expression.op == "const":
        return Affine(zero, np.asarray(expression.value, np.float64))
    if expression.op == "arg":
        data = operands[int(expression.value)].data
        return Affine(one, zero) if data is None else Affine(zero, data.astype(np.float64).reshape(-1))
    sides = [_affine(arg, operands) for arg in expression.args]
    if any(side is None for side in sides) or expression.op not in ("add", "sub", "mul", "div", "neg"):
        return None
    first, second = sides[0], sides[-1]
    assert first is not None
    assert second is not None
    match expression.op:
        case "neg":
            return Affine(-first.scale, -first.shift)
        case "add":
            return Affine(first.scale + second.scale, first.shift + second.shift)
        case "sub":
            return Affine(first.scale - second.scale, first.shift - second.shift)
        case "mul" if not first.scale.any():
            return Affine(second.scale * first.shift, second.shift * first.shift)
        case "mul" if not second.scale.any():
            return Affine(first.scale * second.shift, first.shift * second.shift)
        case "div" if not second.scale.any() and second.shift.all():
            return Affine(first.scale / second.shift, first.shift / second.shift)
    return None
