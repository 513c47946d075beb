"""Element-wise functions of two numbers beyond arithmetic, and the special functions."""

from __future__ import annotations

import math

import numpy as np

from grandopt.compiler.backends.native.builder import Operand
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.elementwise import binary
from grandopt.compiler.backends.native.operators.registry import Context, aten


@aten("fmax.default", "fmin.default")
def ignoring_nan(context: Context, x: Value, other: Value) -> Value:
    """The larger (smaller) of both; NaN only where both are."""
    name = context.operator.partition(".")[0]
    return binary(context, name if context.compute_dtype.startswith("float") else name[1:], x, other)


@aten(
    "atan2.default", "copysign.Tensor", "copysign.Scalar", "hypot.default", "nextafter.default",
)  # fmt: skip
def binary_function(context: Context, x: Value, other: Operand) -> Value:
    return binary(context, context.operator.partition(".")[0], x, other)


@aten("ldexp.Tensor")
def ldexp(context: Context, x: Value, other: Value) -> Value:
    power = context.build.map("exp2", context.build.cast(other, context.dtype))
    return context.build.map("mul", x, power, dtype=context.dtype)


@aten("signbit.default")
def signbit(context: Context, x: Value) -> Value:
    name = "signbit" if x.dtype.startswith("float") else "lt"
    return context.build.map(name, x, *(() if name == "signbit" else (0,)))


@aten("heaviside.default")
def heaviside(context: Context, x: Value, values: Value) -> Value:
    build = context.build
    step = build.cast(build.map("gt", x, 0), x.dtype)  # NaN is not above
    return build.map("where", build.map("eq", x, 0), values, step, dtype=x.dtype)


@aten("angle.default")
def angle(context: Context, x: Value) -> Value:
    build = context.build
    wide = build.cast(x, context.dtype)
    turned = build.map("where", build.map("lt", wide, 0.0), math.pi, 0.0, dtype=context.dtype)
    return build.map("where", build.map("ne", wide, wide), wide, turned, dtype=context.dtype)


@aten("polygamma.default")
def polygamma(context: Context, order: int, x: Value) -> Value:
    build = context.build
    return build.map("polygamma", build.constant(np.asarray(float(order), x.dtype)), x)


@aten("special_zeta.default", "special_zeta.other_scalar", "special_zeta.self_scalar")
def zeta(context: Context, x: Operand, other: Operand) -> Value:
    return binary(context, "zeta", x, other)
