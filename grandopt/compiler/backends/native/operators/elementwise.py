"""Element-wise operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.builder import Operand
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, Translator, aten
from grandopt.compiler.backends.native.scalars import SPECIAL

UNARY = {
    "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "exp": "exp", "expm1": "expm1", "log": "log",
    "log1p": "log1p", "log2": "log2", "log10": "log10", "exp2": "exp2", "sqrt": "sqrt", "rsqrt": "rsqrt",
    "reciprocal": "reciprocal", "erf": "erf", "sin": "sin", "cos": "cos", "tan": "tan", "atan": "atan",
    "asin": "asin", "acos": "acos", "sinh": "sinh", "cosh": "cosh", "square": "square", "neg": "neg",
    "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "erfc": "erfc", "lgamma": "lgamma",
    "digamma": "digamma", "erfinv": "erfinv", "i0": "i0", "special_i0e": "i0e",
    "special_i1": "i1", "special_i1e": "i1e", "special_erfcx": "erfcx", "special_ndtri": "ndtri",
    "special_log_ndtr": "log_ndtr", **{f"special_{name}": name for name in SPECIAL if "bessel" in name},
    "abs": "abs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "round", "sign": "sign",
}  # fmt: skip
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
ROUNDING = frozenset({"floor", "ceil", "trunc", "round"})


def _unary(function: str) -> Translator:
    def translate(context: Context, x: Value) -> Value:
        if function in ROUNDING and not x.dtype.startswith("float"):
            return x
        return context.build.map(function, context.build.cast(x, context.compute_dtype))

    return translate


def _comparison(function: str) -> Translator:
    def translate(context: Context, x: Value, other: Operand) -> Value:
        return context.build.map(function, x, other, dtype=context.compute_dtype)

    return translate


for _name, _function in UNARY.items():
    aten(f"{_name}.default")(_unary(_function))
for _name in COMPARISONS:
    aten(f"{_name}.Tensor", f"{_name}.Scalar")(_comparison(_name))


@aten("round.decimals")
def round_to(context: Context, x: Value, *, decimals: int) -> Value:
    build, power = context.build, float(10 ** abs(decimals))
    first, second = ("div", "mul") if decimals < 0 else ("mul", "div")
    return build.map(second, build.map("round", build.map(first, x, power)), power)


def binary(context: Context, function: str, x: Operand, other: Operand) -> Value:
    return context.build.map(function, x, other, dtype=context.compute_dtype)


@aten("add.Tensor", "add.Scalar")
def add(context: Context, x: Operand, other: Operand, alpha: Any = 1) -> Value:
    return binary(context, "add", x, _scaled(context, other, alpha))


@aten("sub.Tensor", "sub.Scalar")
def sub(context: Context, x: Operand, other: Operand, alpha: Any = 1) -> Value:
    return binary(context, "sub", x, _scaled(context, other, alpha))


@aten("rsub.Scalar", "rsub.Tensor")
def rsub(context: Context, x: Operand, other: Operand, alpha: Any = 1) -> Value:
    return binary(context, "sub", other, _scaled(context, x, alpha))


def _scaled(context: Context, x: Operand, alpha: Any) -> Operand:
    if alpha == 1:
        return x
    return binary(context, "mul", x, alpha) if isinstance(x, Value) else x * alpha


@aten("mul.Tensor", "mul.Scalar")
def mul(context: Context, x: Operand, other: Operand) -> Value:
    function = "and" if context.compute_dtype == "bool" else "mul"
    return binary(context, function, x, other)


@aten("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(context: Context, x: Operand, other: Operand) -> Value:
    if isinstance(other, (int, float)) and other != 0 and math.frexp(other)[0] == 0.5:
        return binary(context, "mul", x, 1.0 / other)  # a power of two: the same result, without a division
    return binary(context, "div", x, other)


@aten("div.Tensor_mode", "div.Scalar_mode")
def div_mode(context: Context, x: Operand, other: Operand, rounding_mode: str | None = None) -> Value:
    if rounding_mode is None:
        return div(context, x, other)
    if context.compute_dtype.startswith("float"):
        if rounding_mode == "floor":
            return binary(context, "floor_divide", x, other)
        return context.build.map(rounding_mode, binary(context, "div", x, other))
    _check_divisor(context, other)
    return binary(context, "ifloordiv" if rounding_mode == "floor" else "div", x, other)


@aten("floor_divide.default", "floor_divide.Scalar")
def floor_divide(context: Context, x: Operand, other: Operand) -> Value:
    return div_mode(context, x, other, "floor")


@aten("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
def remainder(context: Context, x: Operand, other: Operand) -> Value:
    if not context.compute_dtype.startswith("float"):
        _check_divisor(context, other)
        return binary(context, "imod", x, other)
    if isinstance(x, Value) and other == 1:  # a phase: exact in vectors, where other divisors are not
        whole = context.build.map("floor", x, dtype=context.compute_dtype)
        return binary(context, "sub", x, whole)
    return binary(context, "remainder", x, other)


def _check_divisor(context: Context, other: Operand) -> None:
    """A division of whole numbers traps on 0 and on the smallest number by −1: only safe constants pass."""
    known = other.data if isinstance(other, Value) else np.asarray(other)
    if known is None or np.isin(known, (0, -1)).any():
        raise ConditionError("of whole numbers by a divisor that may be 0 or -1")


@aten("fmod.Tensor", "fmod.Scalar")
def fmod(context: Context, x: Operand, other: Operand) -> Value:
    if context.compute_dtype.startswith("float"):
        return binary(context, "fmod", x, other)
    _check_divisor(context, other)
    return binary(context, "ifmod", x, other)


@aten("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")
def power(context: Context, x: Operand, exponent: Operand) -> Value:
    simple = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    floating = context.compute_dtype.startswith("float")
    if isinstance(x, Value) and isinstance(exponent, (int, float)):
        if exponent in simple and (floating or exponent == 2):
            return context.build.map(simple[exponent], context.build.cast(x, context.compute_dtype))
        if exponent == 3:
            return binary(context, "mul", x, context.build.map("square", x, dtype=context.compute_dtype))
    return binary(context, "pow" if floating else "ipow", x, exponent)


@aten("maximum.default")
def maximum(context: Context, x: Value, other: Value) -> Value:
    return binary(context, "max", x, other)


@aten("minimum.default")
def minimum(context: Context, x: Value, other: Value) -> Value:
    return binary(context, "min", x, other)


@aten("clamp.default", "clamp.Tensor", "hardtanh.default", "clamp_min.default", "clamp_min.Tensor")
def clamp(
    context: Context, x: Value, low: Operand | None = None, high: Operand | None = None, **named: Any
) -> Value:
    low = named.get("min", named.get("min_val", low))
    high = named.get("max", named.get("max_val", high))
    if context.operator == "hardtanh.default":
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    result = context.build.cast(x, context.compute_dtype)
    if low is not None:
        result = context.build.map("max", result, low)
    return result if high is None else context.build.map("min", result, high)


@aten("clamp_max.default", "clamp_max.Tensor")
def clamp_max(context: Context, x: Value, high: Operand) -> Value:
    return binary(context, "min", x, high)


@aten("relu6.default")
def relu6(context: Context, x: Value) -> Value:
    return clamp(context, x, 0.0, 6.0)


@aten("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(context: Context, condition: Value, x: Operand, other: Operand) -> Value:
    return context.build.map("where", condition, x, other, dtype=context.dtype)


@aten("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(context: Context, x: Value, mask: Value, value: Operand) -> Value:
    return context.build.map("where", mask, value, x, dtype=context.dtype)


@aten("logical_and.default", "bitwise_and.Tensor", "bitwise_and.Scalar")
def logical_and(context: Context, x: Operand, other: Operand) -> Value:
    return _logic(context, "and", x, other)


@aten("logical_or.default", "bitwise_or.Tensor", "bitwise_or.Scalar")
def logical_or(context: Context, x: Operand, other: Operand) -> Value:
    return _logic(context, "or", x, other)


@aten("logical_xor.default", "bitwise_xor.Tensor", "bitwise_xor.Scalar")
def logical_xor(context: Context, x: Operand, other: Operand) -> Value:
    return _logic(context, "xor", x, other)


def _logic(context: Context, function: str, x: Operand, other: Operand) -> Value:
    dtype = "bool" if context.operator.startswith("logical") else context.compute_dtype
    return context.build.map(function, x, other, dtype=dtype)


@aten("bitwise_left_shift.Tensor", "bitwise_left_shift.Tensor_Scalar")
def shift_left(context: Context, x: Operand, other: Operand) -> Value:
    return _shift(context, "shl", x, other)


@aten("bitwise_right_shift.Tensor", "bitwise_right_shift.Tensor_Scalar")
def shift_right(context: Context, x: Operand, other: Operand) -> Value:
    return _shift(context, "shr", x, other)


def _shift(context: Context, function: str, x: Operand, other: Operand) -> Value:
    """By more bits than there are, or by a negative number, C does not say what comes out."""
    known = other.data if isinstance(other, Value) else np.asarray(other)
    bits = np.dtype(context.compute_dtype).itemsize * 8
    if known is None or ((known < 0) | (known >= bits)).any():
        raise ConditionError(f"by a number that may not lie within 0 and {bits - 1}")
    return binary(context, function, x, other)


@aten("logical_not.default", "bitwise_not.default")
def logical_not(context: Context, x: Value) -> Value:
    if context.operator == "bitwise_not.default" and x.dtype != "bool":
        return context.build.map("bitnot", x)
    return context.build.map("not", context.build.cast(x, "bool"))


@aten("isnan.default")
def isnan(context: Context, x: Value) -> Value:
    return context.build.map("ne", x, x)


@aten("isinf.default")
def isinf(context: Context, x: Value) -> Value:
    return context.build.map("eq", context.build.map("abs", x), math.inf)


@aten("addcmul.default")
def addcmul(context: Context, x: Value, first: Value, second: Value, value: float = 1.0) -> Value:
    product = context.build.map("mul", first, second)
    return context.build.map("add", x, context.build.map("mul", product, value) if value != 1 else product)


@aten("lerp.Scalar", "lerp.Tensor")
def lerp(context: Context, start: Value, end: Value, weight: Operand) -> Value:
    build = context.build
    return build.map("add", start, build.map("mul", build.map("sub", end, start), weight))


@aten("_to_copy.default", "to.dtype", "to.dtype_layout", "type_as.default", "to.other")
def to_copy(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.build.cast(x, context.dtype)


@aten(
    "clone.default", "alias.default", "detach.default", "detach_.default", "lift_fresh_copy.default",
    "lift.default", "contiguous.default", "dropout.default", "feature_dropout.default",
    "alpha_dropout.default",
)  # fmt: skip
def identity(context: Context, x: Value, p: float = 0.0, train: bool = False, **_: Any) -> Value:
    if train:
        raise ConditionError("in training mode")
    return x
