"""Arithmetic on what is known while a graph is followed: sizes, some of which may be symbols."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import torch

from grandopt.compiler.checkpoints.onnx.call import Call, Value, is_symbol, settled
from grandopt.compiler.checkpoints.onnx.tensors import KINDS
from grandopt.signature import Array

LARGEST = 4096
"""Elements; what has more is no arithmetic on sizes."""

NUMPY: dict[torch.dtype, Any] = {
    torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.int32: np.int32,
    torch.bool: np.bool_,
}  # fmt: skip

Arithmetic: TypeAlias = "Callable[[Call, list[Array]], Array | None]"


def followed(call: Call) -> Value | None:
    """The result of a node whose operands are all known; None where it is left to torch."""
    function = TABLE.get(call.node.op)
    arrays = [operand.known for operand in call.operands if operand is not None]
    if function is None or not arrays or len(arrays) != len(call.operands):
        return None
    if any(
        operand is not None and operand.held is not None and operand.held.dtype not in NUMPY
        for operand in call.operands
    ):
        return None
    known = [array for array in arrays if array is not None and array.size <= LARGEST]
    if len(known) != len(arrays):
        return None
    result = function(call, known)
    return None if result is None else Value(known=settled(np.asarray(result)))


def _binary(function: Callable[[Any, Any], Any]) -> Arithmetic:
    def compute(_: Call, operands: list[Array]) -> Array | None:
        left, right = operands
        if object in (left.dtype, right.dtype) and "f" in (left.dtype.kind, right.dtype.kind):
            return None
        return np.asarray(function(left, right))

    return compute


def _divide(_: Call, operands: list[Array]) -> Array | None:
    left, right = operands
    if "f" in (left.dtype.kind, right.dtype.kind):
        return None if object in (left.dtype, right.dtype) else np.asarray(left / right)
    if any(not is_symbol(number) and number <= 0 for number in right.ravel()):
        return None
    if any(not is_symbol(number) and number < 0 for number in left.ravel()):
        return None
    return np.asarray(left // right)


def _remainder(operands: list[Array]) -> Array | None:
    left, right = operands
    if "f" in (left.dtype.kind, right.dtype.kind) or not all(number != 0 for number in right.ravel()):
        return None
    return np.asarray(left % right)


def _cast(call: Call, operands: list[Array]) -> Array | None:
    dtype = KINDS.get(call.attribute("to", 0))
    value = operands[0]
    if value.dtype == object:
        return value if dtype in (torch.int64, torch.int32) else None
    return value.astype(NUMPY[dtype]) if dtype in NUMPY else None


def _axes(call: Call, operands: list[Array]) -> tuple[int, ...] | None:
    if len(operands) > 1:
        return tuple(int(axis) for axis in operands[1].ravel())
    found = call.attributes.get("axes")
    return None if found is None else tuple(found)


def _gather(call: Call, operands: list[Array]) -> Array | None:
    return np.asarray(np.take(operands[0], operands[1].astype(np.int64), axis=call.attribute("axis", 0)))


def _slice(call: Call, operands: list[Array]) -> Array | None:
    value = operands[0]
    if len(operands) > 1:
        lists = [[int(number) for number in operand.ravel()] for operand in operands[1:]]
    else:
        lists = [call.attribute("starts", []), call.attribute("ends", []), call.attributes.get("axes") or []]
    starts, ends = lists[0], lists[1]
    axes = lists[2] if len(lists) > 2 and lists[2] else list(range(len(starts)))
    steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    index: list[slice] = [slice(None)] * value.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = None if step < 0 and end < -value.shape[axis] else end
        index[axis] = slice(start, last, step)
    return value[tuple(index)]


def _unsqueeze(call: Call, operands: list[Array]) -> Array | None:
    axes = _axes(call, operands)
    return None if axes is None else np.expand_dims(operands[0], axes)


def _squeeze(call: Call, operands: list[Array]) -> Array | None:
    return np.squeeze(operands[0], _axes(call, operands))


def _reshape(call: Call, operands: list[Array]) -> Array | None:
    wanted = [int(number) for number in operands[1].ravel()]
    if 0 in wanted:
        return None
    return operands[0].reshape(wanted)


def _product(call: Call, operands: list[Array]) -> Array | None:
    if operands[0].ndim != 1 or operands[0].dtype.kind == "f":
        return None
    total = math.prod(list(operands[0]))
    return np.array([total] if call.attribute("keepdims", 1) else total, object)


def _constant_of_shape(call: Call, operands: list[Array]) -> Array | None:
    wanted = list(operands[0].ravel())
    if any(is_symbol(number) for number in wanted) or math.prod(wanted) > LARGEST:
        return None
    value = call.attributes.get("value")
    if not isinstance(value, Value):
        return np.zeros(wanted, np.float32)
    dtype = value.tensor.dtype
    return np.full(wanted, value.number, NUMPY[dtype]) if dtype in NUMPY else None


def _range(_: Call, operands: list[Array]) -> Array | None:
    start, limit, step = (operand.ravel()[0] for operand in operands)
    if any(is_symbol(number) for number in (start, limit, step)) or step == 0:
        return None
    if abs((limit - start) / step) > LARGEST:
        return None
    return np.arange(start, limit, step, dtype=operands[0].dtype)


def _where(_: Call, operands: list[Array]) -> Array | None:
    condition, left, right = operands
    return None if condition.dtype == object else np.asarray(np.where(condition, left, right))


def _concat(call: Call, operands: list[Array]) -> Array | None:
    return np.concatenate(operands, axis=call.attribute("axis", 0))


def _expand(_: Call, operands: list[Array]) -> Array | None:
    wanted = list(operands[1].ravel())
    if any(is_symbol(number) for number in wanted):
        return None
    shape = np.broadcast_shapes(operands[0].shape, tuple(wanted))
    return np.broadcast_to(operands[0], shape).copy() if math.prod(shape) <= LARGEST else None


TABLE: dict[str, Arithmetic] = {
    "Identity": lambda _, operands: operands[0],
    "Add": _binary(lambda left, right: left + right),
    "Sub": _binary(lambda left, right: left - right),
    "Mul": _binary(lambda left, right: left * right),
    "Div": _divide,
    "Equal": _binary(lambda left, right: (left == right).astype(bool)),
    "Greater": _binary(lambda left, right: (left > right).astype(bool)),
    "Less": _binary(lambda left, right: (left < right).astype(bool)),
    "GreaterOrEqual": _binary(lambda left, right: (left >= right).astype(bool)),
    "LessOrEqual": _binary(lambda left, right: (left <= right).astype(bool)),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Mod": lambda call, operands: None if call.attribute("fmod", 0) else _remainder(operands),
    "Ceil": lambda _, operands: None if operands[0].dtype == object else np.ceil(operands[0]),
    "Floor": lambda _, operands: None if operands[0].dtype == object else np.floor(operands[0]),
    "Relu": lambda _, operands: None if operands[0].dtype == object else np.maximum(operands[0], 0),
    "CastLike": lambda _, operands: (
        operands[0].astype(operands[1].dtype)
        if object not in (operands[0].dtype, operands[1].dtype)
        else None
    ),
    "Not": lambda _, operands: np.logical_not(operands[0]),
    "Neg": lambda _, operands: -operands[0],
    "Sqrt": lambda _, operands: np.sqrt(operands[0]) if operands[0].dtype.kind == "f" else None,
    "Min": lambda _, operands: _folded(np.minimum, operands),
    "Max": lambda _, operands: _folded(np.maximum, operands),
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "ReduceProd": _product,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Where": _where,
    "Concat": _concat,
    "Expand": _expand,
}


def _folded(function: Callable[[Array, Array], Array], operands: list[Array]) -> Array | None:
    return None if any(operand.dtype == object for operand in operands) else reduce(function, operands)
