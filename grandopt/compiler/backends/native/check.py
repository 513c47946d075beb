"""The rules that a graph of the form keeps. Run on entry to and on exit from the passes."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Concat,
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
    Slice,
    Softmax,
    Value,
    Window,
)
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
    expected = _shape(op)
    if expected is not None and expected != op.outputs[0].shape:
        return f"shape {list(op.outputs[0].shape)} where {list(expected)} follows from the inputs"
    expression = op.expression if isinstance(op, Map) else getattr(op, "epilogue", None)
    if expression is not None:
        count = len(op.inputs) - {Map: 0, MatMul: 1, QuantizedLinear: 4}.get(type(op), 2)
        if any(index >= count for index in expression.operands()):
            return f"the expression reads operand {max(expression.operands())} of {count}"
        if expression.dtype != op.output.dtype:
            return f"the expression gives {expression.dtype}, the value is {op.output.dtype}"
    return None


def _shape(op: Op) -> tuple[int, ...] | None:
    first = op.inputs[0].shape if op.inputs else ()
    match op:
        case Map():
            return np.broadcast_shapes(
                *(v.shape for v in op.inputs), *(() if op.inputs else (op.output.shape,))
            )
        case Reshape():
            return op.output.shape if op.output.elements == op.inputs[0].elements else first
        case Permute():
            return tuple(first[axis] for axis in op.axes)
        case Expand():
            return np.broadcast_shapes(first, op.output.shape)
        case Slice():
            size = op.output.shape[op.axis]
            last = op.start + (size - 1) * op.step
            inside = 0 <= op.start < first[op.axis] and 0 <= last < first[op.axis]
            return (*first[: op.axis], size if inside else -1, *first[op.axis + 1 :])
        case Window():
            lead = len(first) - len(op.sizes)
            spans = [d * (n - 1) + 1 for n, d in zip(op.sizes, op.dilations, strict=True)]
            moves = zip(first[lead:], spans, op.strides, strict=True)
            return (*first[:lead], *((n - span) // step + 1 for n, span, step in moves), *op.sizes)
        case Concat():
            total = sum(v.shape[op.axis] for v in op.inputs)
            return (*first[: op.axis], total, *first[op.axis + 1 :])
        case Pad():
            ends = zip(op.before, first, op.output.shape, strict=True)
            return op.output.shape if all(b >= 0 and b + n <= m for b, n, m in ends) else first
        case Linear():
            return (*first[:-1], op.inputs[1].shape[0]) if op.inputs[1].shape[1] == first[-1] else ()
        case MatMul():
            return _product_shape(first, op.inputs[1].shape)
        case Reduce():
            return tuple(1 if axis in op.axes else n for axis, n in enumerate(first))
        case ArgReduce():
            return first[:-1]
        case Softmax() | Normalize():
            return first
        case Recurrent():
            return (first[0], op.inputs[1].shape[1])
        case Quantize():
            return (*first[:-1], -(-first[-1] // 64) * 64)
        case QuantizedLinear():
            return (*first[:-1], op.inputs[2].shape[0]) if op.inputs[2].shape[1] <= first[-1] else ()
        case QuantizedRecurrent():
            return (first[0], op.inputs[1].shape[1])
        case Gather():
            return (*op.inputs[1].shape, *first[1:])
    return None


def _product_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a[-1] != b[-2]:
        return ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _names(values: tuple[Value, ...]) -> str:
    return ", ".join(value.name for value in values)
