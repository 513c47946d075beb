"""Operators that make tensors."""

from __future__ import annotations

import torch

from grandopt.compiler.checkpoints.onnx.call import Call, Result, Value, is_symbol, operator
from grandopt.compiler.checkpoints.onnx.tensors import KINDS


@operator("ConstantOfShape")
def constant_of_shape(call: Call) -> Result:
    """One number everywhere; zero of float32 without `value`."""
    wanted = call.sizes(0)
    value = call.attributes.get("value")
    if not isinstance(value, Value):
        return torch.zeros(wanted, dtype=torch.float32)
    return torch.full(wanted, value.number, dtype=value.tensor.dtype)


@operator("Range")
def numbers(call: Call) -> Result:
    """From a start to before a limit."""
    start, limit, step = (call.number(place) for place in range(3))
    held = [value.held for value in (call.value(place) for place in range(3)) if value.held is not None]
    if not is_symbol(step) and step == 0:
        call.refuse("goes on in steps of 0")
    return torch.arange(start, limit, step, dtype=held[0].dtype if held else torch.int64)


@operator("EyeLike")
def eye_like(call: Call) -> Result:
    """Ones on a diagonal, in the shape of the operand."""
    value = call.tensor(0)
    kind = call.attributes.get("dtype")
    dtype = value.dtype if kind is None else KINDS.get(kind)
    if dtype is None:
        call.refuse(f"of a dtype (number {kind}) that is not computed with here")
    rows, columns = (torch.arange(size) for size in value.shape)
    return (columns.unsqueeze(0) - rows.unsqueeze(1) == call.attribute("k", 0)).to(dtype)


@operator("OneHot")
def one_hot(call: Call) -> Result:
    """One place of a new axis is `on`; an index out of range is none."""
    places, depth = call.tensor(0), int(call.number(1))
    off, on = call.tensor(2).unbind(0)
    axis = call.attribute("axis", -1)
    axis = axis + places.dim() + 1 if axis < 0 else axis
    places = places.to(torch.int64).unsqueeze(axis)
    classes = torch.arange(depth).reshape([depth if at == axis else 1 for at in range(places.dim())])
    hit = (places == classes) | (places + depth == classes)
    return torch.where(hit, on, off)


@operator("Constant")
def constant(call: Call) -> Result:
    """The tensor of an attribute."""
    value = call.attributes.get("value")
    if isinstance(value, Value):
        return value
    for name, dtype in (
        ("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
        ("value_ints", torch.int64),
    ):  # fmt: skip
        if name in call.attributes:
            return Value.of(torch.tensor(call.attributes[name], dtype=dtype))
    return call.refuse("its value is no dense tensor of numbers")
