"""Operators that work element by element: arithmetic, comparisons, logic."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch

from grandopt.compiler.checkpoints.onnx.call import TABLE, Call, Result, operator
from grandopt.compiler.checkpoints.onnx.tensors import KINDS

Unary = Callable[[torch.Tensor], torch.Tensor]
Binary = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

UNARY: dict[str, Unary] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh,
    "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "IsNaN": torch.isnan, "Log": torch.log,
    "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Round": torch.round,
    "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Sqrt": torch.sqrt, "Tan": torch.tan,
    "BitwiseNot": torch.bitwise_not,
}  # fmt: skip

BINARY: dict[str, Binary] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Equal": torch.eq, "Greater": torch.gt,
    "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le, "And": torch.logical_and,
    "Or": torch.logical_or, "Xor": torch.logical_xor, "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip


def _unary(function: Unary) -> Callable[[Call], Result]:
    return lambda call: function(call.tensor(0))


def _binary(function: Binary) -> Callable[[Call], Result]:
    return lambda call: function(call.tensor(0), call.tensor(1))


TABLE.update({name: _unary(function) for name, function in UNARY.items()})
TABLE.update({name: _binary(function) for name, function in BINARY.items()})


@operator("Div")
def divide(call: Call) -> Result:
    """Whole numbers are divided towards zero."""
    left, right = call.tensor(0), call.tensor(1)
    if left.dtype.is_floating_point:
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


@operator("Pow")
def power(call: Call) -> Result:
    """The result is of the base's dtype."""
    base, exponent = call.tensor(0), call.tensor(1)
    if not base.dtype.is_floating_point and exponent.dtype.is_floating_point:
        return torch.pow(base.to(exponent.dtype), exponent).to(base.dtype)
    known = call.value(1).known
    if known is not None and known.size == 1 and known.ndim <= base.dim() and base.dtype.is_floating_point:
        return torch.pow(base, float(known.ravel()[0]))
    return torch.pow(base, exponent).to(base.dtype)


@operator("Mod")
def remainder(call: Call) -> Result:
    """With `fmod` the sign is the dividend's, else the divisor's."""
    left, right = call.tensor(0), call.tensor(1)
    return torch.fmod(left, right) if call.attribute("fmod", 0) else torch.remainder(left, right)


@operator("BitShift")
def shift(call: Call) -> Result:
    """Left or right."""
    left, right = call.tensor(0), call.tensor(1)
    if call.attribute("direction", "") == "LEFT":
        return torch.bitwise_left_shift(left, right)
    return torch.bitwise_right_shift(left, right)


@operator("Min", "Max", "Sum", "Mean")
def combined(call: Call) -> Result:
    """Any number of tensors, element by element."""
    values = call.tensors()
    if call.node.op in ("Min", "Max"):
        return reduce(torch.minimum if call.node.op == "Min" else torch.maximum, values)
    total = reduce(torch.add, values)
    return total / len(values) if call.node.op == "Mean" else total


@operator("Where")
def where(call: Call) -> Result:
    """The second operand where the first is true, else the third."""
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


@operator("Clip")
def clip(call: Call) -> Result:
    """Bounds are attributes up to opset 10, operands from then on. Where they cross, the upper one holds."""
    value = call.tensor(0)
    low, high = call.optional(1), call.optional(2)
    if call.opset < 11:
        bounds = (call.attributes.get("min"), call.attributes.get("max"))
        return value if bounds == (None, None) else torch.clamp(value, *bounds)
    numbers = [call.value(at).known if call.has(at) else None for at in (1, 2)]
    if value.dtype.is_floating_point and all(
        call.has(at) == (n is not None) for at, n in zip((1, 2), numbers, strict=True)
    ):
        limits = [None if number is None else float(number.ravel()[0]) for number in numbers]
        return value if limits == [None, None] else torch.clamp(value, *limits)
    value = value if low is None else torch.maximum(value, low)
    return value if high is None else torch.minimum(value, high)


@operator("IsInf")
def is_infinite(call: Call) -> Result:
    """Either sign may be left out."""
    value = call.tensor(0)
    found = torch.isinf(value)
    if not call.attribute("detect_negative", 1):
        found = found & (value > 0)
    if not call.attribute("detect_positive", 1):
        found = found & (value < 0)
    return found


@operator("Cast")
def cast(call: Call) -> Result:
    """To the dtype of an attribute."""
    kind = call.attribute("to", 0)
    if kind not in KINDS:
        call.refuse(f"to a dtype (number {kind}) that is not computed with here")
    return call.tensor(0).to(KINDS[kind])


@operator("CastLike")
def cast_like(call: Call) -> Result:
    """To the dtype of the second operand."""
    return call.tensor(0).to(call.tensor(1).dtype)
