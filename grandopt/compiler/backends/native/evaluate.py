"""What the element-wise part of a graph computes of samples, in NumPy.

Only for looking at recorded observations while an agent is built; nothing that runs is checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

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


def _erf(x: Array) -> Array:
    result: Array = torch.special.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return result


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
    "erf": _erf,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2.0))),
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
    """The values of samples that follow without a product, as far as they can be told, each [n, *shape].

    `inputs` are those of the graph, in order, each [n, *shape]. Of constants, and what follows from them
    alone, n is 1.
    """
    known: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    with np.errstate(all="ignore"):
        for op in graph.ops:
            add_constants(op, known)
            if all(value in known for value in op.inputs) and (result := of_op(op, known)) is not None:
                known[op.output] = result.astype(op.output.dtype, copy=False)
    return known


def add_constants(op: Op, known: dict[Value, Array]) -> None:
    """Enter the constants that an op reads."""
    for value in op.inputs:
        if value.data is not None and value not in known:
            known[value] = value.data[np.newaxis]


def of_op(op: Op, known: Mapping[Value, Array]) -> Array | None:
    """The result of an op that is no product; None where it is one, or not known here."""
    match op:
        case Map():
            rank = len(op.output.shape)
            found = of_expression(op.expression, [aligned(known[value], rank) for value in op.operands])
            return None if found is None else _broadcast(found, op.output.shape)
        case Unary():
            return _of_view(op, known[op.x], op.outputs[0].shape)
        case Concat():
            parts = [known[value] for value in op.parts]
            count = max(map(len, parts))
            whole = [np.broadcast_to(part, (count, *part.shape[1:])) for part in parts]
            return np.concatenate(whole, axis=op.axis + 1)
        case Normalize():
            x = known[op.x].astype(np.float64)
            x = x - x.mean(-1, keepdims=True) if op.center else x
            scaled = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + op.epsilon)
            rank = x.ndim - 1
            scaled = scaled * aligned(known[op.weight], rank) + aligned(known[op.bias], rank)
            return finished(scaled, op.epilogue, [known[value] for value in op.extras])
    return None


def aligned(array: Array, rank: int) -> Array:
    """Values [n, *shape] with axes of size 1 before the shape, so that it has `rank` of them."""
    return array.reshape(len(array), *(1,) * (rank + 1 - array.ndim), *array.shape[1:])


def finished(result: Array, epilogue: Expression | None, extras: Sequence[Array]) -> Array | None:
    """What follows a product's or a normalisation's result; None where a function of it is not known here."""
    result = result.astype(np.float32, copy=False)
    if epilogue is None:
        return result
    return of_expression(epilogue, [result, *(aligned(extra, result.ndim - 1) for extra in extras)])


def _broadcast(array: Array, shape: tuple[int, ...]) -> Array:
    array = aligned(array[np.newaxis] if array.ndim == 0 else array, len(shape))
    return np.broadcast_to(array, (len(array), *shape))


def _of_view(op: Unary, x: Array, shape: tuple[int, ...]) -> Array | None:
    match op:
        case Reshape():
            return x.reshape(len(x), *shape)
        case Permute():
            return x.transpose(0, *(axis + 1 for axis in op.axes))
        case Expand():
            return _broadcast(x, shape)
        case Slice():
            return x.take(op.start + op.step * np.arange(shape[op.axis]), axis=op.axis + 1)
        case Window():
            return windows(x, op.sizes, op.strides, op.dilations)
        case Pad():
            whole = np.full((len(x), *shape), op.fill, x.dtype)
            inside = (slice(b, b + n) for b, n in zip(op.before, op.x.shape, strict=True))
            whole[(slice(None), *inside)] = x
            return whole
    return None


def windows(x: Array, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """Sliding windows over the last axes: [..., spatial] → [..., positions, sizes]."""
    lead = x.ndim - len(sizes)
    spans = [d * (n - 1) + 1 for n, d in zip(sizes, dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axis=tuple(range(lead, x.ndim)))
    moves = (slice(None, None, step) for step in strides)
    taps = (slice(None, None, step) for step in dilations)
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
