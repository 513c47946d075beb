"""Which dtypes each op of the form has a kernel for, in one place.

`translate.py` asks it about every op that a translator made, and refuses the operator with the answer;
`check.py` asks again after every pass, where an answer is a defect of the pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Attention,
    Concat,
    Convolve,
    Gather,
    Linear,
    Map,
    MatMul,
    Normalize,
    Op,
    Pad,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Reduce,
    Scan,
    Scatter,
    Softmax,
    Sort,
    Value,
    View,
    WithEpilogue,
)
from grandopt.compiler.backends.native.scalars import SCALARS, Domain


def dtype_fault(op: Op) -> str | None:
    """Why no kernel computes the op on the dtypes of its operands, or None when one does."""
    known = _expression_fault(op)
    if known is not None:
        return known
    dtypes = [value.dtype for value in (*op.inputs, *op.outputs)]
    match op:
        case Linear() | Convolve() | MatMul() | Attention() | Softmax() | Normalize() | Recurrent():
            # Their kernels are vectors of float32, for every operand and result.
            return _unless(set(dtypes) == {"float32"}, op, dtypes)
        case QuantizedLinear() | QuantizedRecurrent():
            return _unless(op.outputs[0].dtype == "float32", op, dtypes)
        case Quantize():
            given = {value.dtype for value in op.inputs}  # with an offset and a factor, or without
            made = [value.dtype for value in op.outputs]
            return _unless(given == {"float32"} and made == ["uint8", "float32"], op, dtypes)
        case Reduce():
            return _reduce_fault(op)
        case Scan() | Sort():
            alike = op.x.dtype == op.outputs[0].dtype != "bool"
            indexed = all(value.dtype == "int64" for value in op.outputs[1:])
            fitting = is_float(op.x) or not (isinstance(op, Scan) and op.kind == "logsumexp")
            return _unless(alike and indexed and fitting, op, dtypes)
        case Scatter():
            alike = op.base.dtype == op.values.dtype == op.output.dtype
            summed = op.kind in ("sum", "prod") and op.base.dtype == "bool"
            return _unless(alike and op.places.dtype == "int64" and not summed, op, dtypes)
        case ArgReduce():
            return _unless(op.output.dtype == "int64", op, dtypes)
        case Gather():
            return _unless(op.indices.dtype == "int64" and op.table.dtype == op.output.dtype, op, dtypes)
        case Pad():
            exact = is_float(op.output) or (math.isfinite(op.fill) and op.fill == int(op.fill))
            return _unless(exact and len(set(dtypes)) == 1, op, dtypes)
        case View() | Concat():
            return _unless(len(set(dtypes)) == 1, op, dtypes)
    return None


def is_float(value: Value) -> bool:
    """Whether it holds floating-point numbers."""
    return value.dtype.startswith("float")


def _expression_fault(op: Op) -> str | None:
    expression: Expression | None = None
    held: list[str] | None = None  # what an epilogue reads is float32 throughout
    if isinstance(op, Map):
        expression, held = op.expression, [value.dtype for value in op.operands]
    elif isinstance(op, WithEpilogue):
        expression = op.epilogue
    if expression is None:
        return None
    if expression.dtype != op.outputs[0].dtype:
        return f"the expression gives {expression.dtype}, the value is {op.outputs[0].dtype}"
    return _node_fault(expression, held)


def _node_fault(node: Expression, held: Sequence[str] | None) -> str | None:
    if node.op == "arg":
        dtype = "float32" if held is None else held[int(node.value)]
        return None if dtype == node.dtype else f"an operand of {dtype} is read as {node.dtype}"
    if node.op not in ("const", "cast"):
        condition, numbers = node.args[: node.op == "where"], node.args[node.op == "where" :]
        dtypes = list(dict.fromkeys(arg.dtype for arg in numbers))
        if len(dtypes) > 1:
            return f"{node.op} of {' and '.join(dtypes)} mixed"
        if any(arg.dtype != "bool" for arg in condition):
            return f"a condition of {condition[0].dtype}"
        if not admits(SCALARS[node.op].domain, dtypes[0]):
            return f"{node.op} of {dtypes[0]}"
    return next((fault for arg in node.args if (fault := _node_fault(arg, held)) is not None), None)


def admits(domain: Domain, dtype: str) -> bool:
    """Whether a scalar function of that domain takes the dtype."""
    match domain:
        case "float":
            return dtype.startswith("float")
        case "whole":
            return dtype.startswith(("int", "uint"))
        case "number":
            return dtype != "bool"
        case "bits":
            return not dtype.startswith("float")
        case "bool":
            return dtype == "bool"
        case "any":
            return True


def _reduce_fault(op: Reduce) -> str | None:
    dtypes = [op.x.dtype, op.output.dtype]
    if op.kind in ("any", "all"):
        return _unless(dtypes == ["bool", "bool"], op, dtypes)
    if op.kind == "mean":
        return _unless(is_float(op.output) and dtypes[0] == dtypes[1], op, dtypes)
    summed = op.kind in ("sum", "prod")
    return _unless(dtypes[0] == dtypes[1] and not (summed and dtypes[0] == "bool"), op, dtypes)


def _unless(covered: bool, op: Op, dtypes: list[str]) -> str | None:
    kind = f"{type(op).__name__}{f' ({op.kind})' if isinstance(op, (Reduce, Scan, Scatter)) else ''}"
    found = " and ".join(dict.fromkeys(dtypes))
    return None if covered else f"{kind} of {found}"
