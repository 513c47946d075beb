"""Scales and shifts by constants into the weights of the product before or after them.

The folded weights are computed in float64 and rounded once, so that the result differs from the original
by rounding only. A shift ahead of a product is folded only while it is small: W·(x − m) cancels where
W·x − W·m, with a large m, does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import (
    Convolve,
    Graph,
    Linear,
    Map,
    Normalize,
    Op,
    Permute,
    Value,
)
from grandopt.compiler.backends.native.passes.exact import exact_weights, product, rounded
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
    graph = _beside_convolutions(graph)
    while (folded := _fold_one(graph)) is not None:
        graph = folded
    return graph


def _beside_convolutions(graph: Graph) -> Graph:
    """The graph in which a scale of all inputs, such as 1/255, follows the Permute ahead of a convolution."""
    counts, producers = graph.use_counts(), graph.producers()
    read = {op.x for op in graph.ops if isinstance(op, Convolve)}
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Permute) and op.output in read and counts[op.output] == counts[op.x] == 1:
            scaled = producers.get(op.x)
            affine = affine_of(scaled) if isinstance(scaled, Map) else None
            if isinstance(scaled, Map) and affine is not None and affine.scale.size == affine.shift.size == 1:
                turned = Value(f"{op.output.name}_turned", op.output.shape, op.output.dtype)
                variable = next(value for value in scaled.inputs if value.data is None)
                inputs = tuple(turned if v is variable else _number(v) for v in scaled.inputs)
                ops.remove(scaled)
                ops += [Permute((variable,), (turned,), op.axes), Map(inputs, op.outputs, scaled.expression)]
                continue
        ops.append(op)
    return replace(graph, ops=tuple(ops))


def _number(value: Value) -> Value:
    """A constant of one element, of any rank, as a number."""
    return Value(value.name, (), value.dtype, value.constant.reshape(()))


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
            weight, bias = exact_weights(producer)
            scale = np.broadcast_to(affine.scale, bias.shape)
            return (_linear(producer.x, weight * scale[:, None], bias * scale + affine.shift, op),)
        case Convolve(), Map() if (affine := affine_of(op)) is not None:
            return (_scaled_output(producer, op, affine),)
        case Map(), Convolve() if (affine := affine_of(producer)) is not None and not affine.shift.any():
            # A shift would not reach what lies beyond the input, which is 0 to every tap.
            variable = next(v for v in producer.inputs if v.data is None)
            return (_scaled_channels(op, variable, affine.scale),)
        case Normalize(), Linear() if producer.epilogue is None:
            weight, shift = exact_weights(producer)
            if (np.all(weight == 1) and np.all(shift == 0)) or np.abs(shift).max() > LARGEST_SHIFT:
                return None
            plain = _plain(producer)
            return plain, _scaled_input(op, plain.output, Affine(weight, shift))
        case Linear(), Linear():
            return _merged(producer, op)
    return None


def _scaled_output(op: Convolve, last: Map, affine: Affine) -> Convolve:
    weight, bias = op.weight.constant.astype(np.float64), op.bias.constant.astype(np.float64)
    scale = np.broadcast_to(affine.scale, bias.shape)
    scaled = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), bias * scale + affine.shift
    constants = rounded(*scaled, last.output.name)
    return replace(op, inputs=(op.x, *constants, *op.extras), outputs=last.outputs)


def _scaled_channels(op: Convolve, x: Value, scale: Array) -> Convolve:
    weight, bias = op.weight.constant.astype(np.float64), op.bias.constant.astype(np.float64)
    if op.depthwise:
        wide = np.broadcast_to(scale, (len(weight),)).reshape(-1, *(1,) * (weight.ndim - 1))
    else:
        wide = np.broadcast_to(scale, weight.shape[-1:])
    constants = rounded(weight * wide, bias, op.output.name)
    return replace(op, inputs=(x, *constants, *op.extras))


def _merged(first: Linear, second: Linear) -> tuple[Op, ...] | None:
    """W₂·(W₁·x + b₁) + b₂ as one product, where that is not more work."""
    (w1, b1), (w2, b2) = exact_weights(first), exact_weights(second)
    if w2.shape[0] * w1.shape[1] > w1.size + w2.size:
        return None
    return (_linear(first.x, w2 @ w1, w2 @ b1 + b2, second),)


def _scaled_input(op: Linear, x: Value, affine: Affine) -> Linear:
    weight, bias = exact_weights(op)
    width = (weight.shape[1],)
    scale, shift = np.broadcast_to(affine.scale, width), np.broadcast_to(affine.shift, width)
    return _linear(x, weight * scale, bias + weight @ shift, op)


def _linear(x: Value, weight: Array, bias: Array, last: Op) -> Linear:
    return product(x, weight, bias, last.outputs, last.output.name)


def _plain(op: Normalize) -> Normalize:
    length = op.weight.shape
    weight = Value(f"{op.output.name}_ones", length, "float32", np.ones(length, np.float32))
    bias = Value(f"{op.output.name}_zeros", length, "float32", np.zeros(length, np.float32))
    return Normalize((op.x, weight, bias), op.outputs, op.epsilon, op.center)


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
    sides = [side for arg in expression.args if (side := _affine(arg, operands)) is not None]
    if len(sides) < len(expression.args) or expression.op not in ("add", "sub", "mul", "div", "neg"):
        return None
    first, second = sides[0], sides[-1]
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
