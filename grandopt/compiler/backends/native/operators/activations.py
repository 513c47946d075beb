"""Activation functions that ATen knows by name."""

from __future__ import annotations

import math

from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


@aten("silu.default")
def silu(context: Context, x: Value) -> Value:
    return context.build.map("mul", x, context.build.map("sigmoid", x))


@aten("gelu.default")
def gelu(context: Context, x: Value, approximate: str = "none") -> Value:
    if approximate == "none":
        return context.build.map("gelu", x)
    # 0.5·x·(1 + tanh u) = x·sigmoid(2u), u the cubic of Hendrycks & Gimpel 2016.
    build = context.build
    cube = build.map("mul", x, build.map("square", x))
    inner = build.map("add", x, build.map("mul", cube, 0.044715))
    return build.map("mul", x, build.map("sigmoid", build.map("mul", inner, 2.0 * math.sqrt(2.0 / math.pi))))


@aten("softplus.default")
def softplus(context: Context, x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    build = context.build
    scaled = build.map("mul", x, beta) if beta != 1 else x
    # max(x, 0) + log1p(exp(−|x|)): the same function, without overflow.
    tail = build.map("log1p", build.map("exp", build.map("neg", build.map("abs", scaled))))
    result = build.map("add", build.map("relu", scaled), tail)
    result = build.map("mul", result, 1.0 / beta) if beta != 1 else result
    return build.map("where", build.map("gt", scaled, threshold), x, result, dtype=x.dtype)


@aten("elu.default")
def elu(
    context: Context, x: Value, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> Value:
    build = context.build
    inner = build.map("mul", x, input_scale) if input_scale != 1 else x
    low = build.map("mul", build.map("expm1", inner), alpha * scale)
    high = build.map("mul", x, scale) if scale != 1 else x
    return build.map("where", build.map("gt", x, 0.0), high, low, dtype=x.dtype)


@aten("leaky_relu.default")
def leaky_relu(context: Context, x: Value, negative_slope: float = 0.01) -> Value:
    build = context.build
    return build.map("where", build.map("gt", x, 0.0), x, build.map("mul", x, negative_slope), dtype=x.dtype)


@aten("rrelu_with_noise_functional.default")
def rrelu(
    context: Context,
    x: Value,
    noise: Value,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    generator: object = None,
) -> tuple[Value, Value]:
    """Out of training the slope is the middle of its range."""
    if training:
        raise ConditionError("in training mode")
    return leaky_relu(context, x, (lower + upper) / 2), noise


@aten("prelu.default", "_prelu_kernel.default")
def prelu(context: Context, x: Value, weight: Value) -> Value:
    build = context.build
    if len(weight.shape) == 1 and weight.elements > 1:
        weight = build.reshape(weight, (weight.elements, *(1,) * (len(x.shape) - 2)))
    return build.map("where", build.map("gt", x, 0.0), x, build.map("mul", x, weight), dtype=x.dtype)


@aten("hardsigmoid.default")
def hardsigmoid(context: Context, x: Value) -> Value:
    build = context.build
    shifted = build.map("min", build.map("max", build.map("add", x, 3.0), 0.0), 6.0)
    return build.map("div", shifted, 6.0)


@aten("hardswish.default")
def hardswish(context: Context, x: Value) -> Value:
    build = context.build
    shifted = build.map("min", build.map("max", build.map("add", x, 3.0), 0.0), 6.0)
    return build.map("div", build.map("mul", x, shifted), 6.0)
