"""The rules that a graph of the form keeps. Run on entry to and on exit from the passes."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.dtypes import dtype_fault
from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Attention,
    Concat,
    Convolve,
    Expand,
    Gather,
    Graph,
    Linear,
    Map,
    MatMul,
    Normalize,
    Op,
    Pad,
    Permute,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Reduce,
    Reshape,
    Scan,
    Scatter,
    Slice,
    Softmax,
    Sort,
    Unary,
    Value,
    Window,
    WithEpilogue,
)
from grandopt.compiler.backends.native.operation import Operand
from grandopt.errors import PassError


def check(graph: Graph, stage: str) -> Graph:
    """Return the graph unchanged; raises PassError, naming `stage` and the op, when it breaks a rule."""
    known = set(graph.inputs)
    for position, op in enumerate(graph.ops):
        where = f"{graph.name}: after {stage}, op {position} ({type(op).__name__} {_names(op.outputs)})"
        for value in op.inputs:
            if value.data is None and value not in known:
                raise PassError(f"{where} reads {value.name} before it is computed")
        for value in op.outputs:
            if value in known or value.data is not None:
                raise PassError(f"{where} computes {value.name}, which already has a value")
            known.add(value)
        fault = _fault(op)
        if fault:
            raise PassError(f"{where}: {fault}")
    for value in graph.outputs:
        if value.data is None and value not in known:
            raise PassError(f"{graph.name}: after {stage}, output {value.name} is never computed")
    return graph


def _fault(op: Op) -> str | None:
    """What is wrong with the op, or None."""
    for value in (*op.inputs, *op.outputs):
        if value.data is not None and (value.data.shape, value.data.dtype.name) != (value.shape, value.dtype):
            return f"constant {value.name} holds {value.data.dtype} {list(value.data.shape)}"
    required = [role.name for role in op.roles if isinstance(role, Operand)]
    if len(op.inputs) < len(required):
        return f"it lacks its {required[len(op.inputs)]}"
    for position, value in enumerate(op.inputs):
        if op.role(position).constant and value.data is None:
            return f"its {op.role(position).name} {value.name} is computed"
    expected = _shape(op)
    if expected is not None and expected != op.outputs[0].shape:
        return f"shape {list(op.outputs[0].shape)} where {list(expected)} follows from the inputs"
    expression, count = None, 0
    if isinstance(op, Map):
        expression, count = op.expression, len(op.operands)
    elif isinstance(op, WithEpilogue):
        expression, count = op.epilogue, 1 + len(op.extras)
    if expression is not None and any(index >= count for index in expression.operands()):
        return f"the expression reads operand {max(expression.operands())} of {count}"
    return dtype_fault(op)


def _shape(op: Op) -> tuple[int, ...] | None:
    match op:
        case Map():
            return np.broadcast_shapes(*(v.shape for v in op.operands or op.outputs))
        case Unary():
            return _unary_shape(op, op.x.shape)
        case Concat():
            first = op.parts[0].shape
            total = sum(v.shape[op.axis] for v in op.parts)
            return (*first[: op.axis], total, *first[op.axis + 1 :])
        case Linear():
            (outputs, depth), x = op.weight.shape, op.x.shape
            return (*x[:-1], outputs) if depth == x[-1] else ()
        case Convolve():
            return _convolution_shape(op)
        case MatMul():
            return _product_shape(op.a.shape, op.b.shape)
        case Attention():
            scores = _product_shape(op.query.shape, op.keys.shape)
            return _product_shape(scores, op.values.shape) if scores else ()
        case Normalize():
            return op.x.shape
        case Scatter():
            flat = len(op.base.shape) == 1 and op.places.shape == op.values.shape
            return op.base.shape if flat else ()
        case Recurrent() | QuantizedRecurrent():
            return (op.gates.shape[0], op.weight.shape[1])
        case Quantize():
            return (*op.x.shape[:-1], -(-op.x.shape[-1] // 64) * 64)
        case QuantizedLinear():
            (outputs, depth), codes = op.weight.shape, op.codes.shape
            return (*codes[:-1], outputs) if depth <= codes[-1] else ()
        case Gather():
            return (*op.indices.shape, *op.table.shape[1:])
    return None


def _unary_shape(op: Unary, x: tuple[int, ...]) -> tuple[int, ...] | None:
    match op:
        case Reshape():
            return op.output.shape if op.output.elements == op.x.elements else x
        case Permute():
            return tuple(x[axis] for axis in op.axes)
        case Expand():
            return np.broadcast_shapes(x, op.output.shape)
        case Slice():
            size = op.output.shape[op.axis]
            last = op.start + (size - 1) * op.step
            inside = 0 <= op.start < x[op.axis] and 0 <= last < x[op.axis]
            return (*x[: op.axis], size if inside else -1, *x[op.axis + 1 :])
        case Window():
            lead = len(x) - len(op.sizes)
            spans = [d * (n - 1) + 1 for n, d in zip(op.sizes, op.dilations, strict=True)]
            moves = zip(x[lead:], spans, op.strides, strict=True)
            return (*x[:lead], *((n - span) // step + 1 for n, span, step in moves), *op.sizes)
        case Pad():
            ends = zip(op.before, x, op.output.shape, strict=True)
            return op.output.shape if all(b >= 0 and b + n <= m for b, n, m in ends) else x
        case Reduce():
            return tuple(1 if axis in op.axes else n for axis, n in enumerate(x))
        case ArgReduce():
            return x[:-1]
        case Softmax() | Scan() | Sort():
            return x
    return None


def _convolution_shape(op: Convolve) -> tuple[int, ...]:
    count, *kernel, inside = op.weight.shape
    rank = len(kernel)
    whole = all(len(part) == rank for part in (op.strides, op.dilations, op.before))
    fitting = inside == op.x.shape[-1] or (inside == 1 and count == op.x.shape[-1])
    if not (whole and fitting and len(op.x.shape) == len(op.output.shape) == rank + 2):
        return ()
    return (op.x.shape[0], *op.output.shape[1:-1], count)


def _product_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a[-1] != b[-2]:
        return ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _names(values: tuple[Value, ...]) -> str:
    return ", ".join(value.name for value in values)
