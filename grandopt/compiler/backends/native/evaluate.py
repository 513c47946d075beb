"""What the element-wise part of a graph computes, in NumPy: what the products that come first are given.

Only for looking at recorded observations while an agent is built; nothing that runs is checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import (
    Concat,
    Expand,
    Graph,
    Map,
    Normalize,
    Op,
    Pad,
    Permute,
    Reshape,
    Slice,
    Unary,
    Value,
    Window,
)
from grandopt.signature import Array

FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "square": np.square,
    "relu": lambda x: np.maximum(x, 0),
    "min": np.minimum,
    "max": np.maximum,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "pow": np.power,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "not": np.logical_not,
    "where": np.where,
}


def evaluated(graph: Graph, inputs: Sequence[Array]) -> dict[Value, Array]:
    """The values that follow from one sample without a product, as far as they can be told.

    `inputs` are those of the graph, in order, each of the graph's own shape.
    """
    known: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    with np.errstate(all="ignore"):
        for op in graph.ops:
            known |= {value: value.data for value in op.inputs if value.data is not None}
            if all(value in known for value in op.inputs) and (result := _result(op, known)) is not None:
                known[op.output] = result.astype(op.output.dtype, copy=False)
    return known


def _result(op: Op, known: Mapping[Value, Array]) -> Array | None:
    match op:
        case Map():
            found = of_expression(op.expression, [known[value] for value in op.operands])
            return None if found is None else np.broadcast_to(found, op.output.shape)
        case Unary():
            return _unary_result(op, known[op.x], op.outputs[0].shape)
        case Concat():
            return np.concatenate([known[value] for value in op.parts], axis=op.axis)
        case Normalize() if op.epilogue is None:
            x = known[op.x].astype(np.float64)
            x = x - x.mean(-1, keepdims=True) if op.center else x
            scaled = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + op.epsilon)
            return scaled * known[op.weight] + known[op.bias]
    return None


def _unary_result(op: Unary, x: Array, shape: tuple[int, ...]) -> Array | None:
    match op:
        case Reshape():
            return x.reshape(shape)
        case Permute():
            return x.transpose(op.axes)
        case Expand():
            return np.broadcast_to(x, shape)
        case Slice():
            return x.take(op.start + op.step * np.arange(shape[op.axis]), axis=op.axis)
        case Window():
            return _windows(op, x)
        case Pad():
            whole = np.full(shape, op.fill, x.dtype)
            whole[tuple(slice(b, b + n) for b, n in zip(op.before, x.shape, strict=True))] = x
            return whole
    return None


def _windows(op: Window, x: Array) -> Array:
    lead = x.ndim - len(op.sizes)
    spans = [d * (n - 1) + 1 for n, d in zip(op.sizes, op.dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axis=tuple(range(lead, x.ndim)))
    moves = (slice(None, None, step) for step in op.strides)
    taps = (slice(None, None, step) for step in op.dilations)
    return views[(*(slice(None),) * lead, *moves, *taps)]


def of_expression(expression: Expression, operands: Sequence[Array]) -> Array | None:
    """The expression of the operands; None where a function of it is not known here."""
    if expression.op == "arg":
        return operands[int(expression.value)]
    if expression.op == "const":
        return np.asarray(expression.value, expression.dtype)
    arguments = [of_expression(part, operands) for part in expression.args]
    if any(argument is None for argument in arguments):
        return None
    if expression.op == "cast":
        (source,) = arguments
        return None if source is None else source.astype(expression.dtype)
    function = FUNCTIONS.get(expression.op)
    return None if function is None else np.asarray(function(*arguments)).astype(expression.dtype)
