"""Reductions, soft maxima and arg maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import ReduceKind, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten

Dims = int | Sequence[int] | None


def _axes(x: Value, dim: Dims) -> list[int]:
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return list(range(len(x.shape)))
    return [dim] if isinstance(dim, int) else list(dim)


def _reduce(context: Context, kind: ReduceKind, x: Value, dim: Dims, keepdim: bool) -> Value:
    if not x.shape:
        return x
    return context.build.reduce(kind, x, _axes(x, dim), keepdim)


@aten("sum.default", "sum.dim_IntList", "mean.default", "mean.dim", "prod.default", "prod.dim_int")
def arithmetic(context: Context, x: Value, dim: Dims = None, keepdim: bool = False, **_: Any) -> Value:
    kind: ReduceKind = context.operator.partition(".")[0]  # type: ignore[assignment]
    return _reduce(context, kind, context.build.cast(x, context.dtype), dim, keepdim)


@aten("amax.default", "max.default")
def amax(context: Context, x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    return _reduce(context, "max", x, dim, keepdim)


@aten("amin.default", "min.default")
def amin(context: Context, x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    return _reduce(context, "min", x, dim, keepdim)


@aten("any.default", "any.dim", "any.dims")
def any_(context: Context, x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    return _reduce(context, "any", context.build.cast(x, "bool"), dim, keepdim)


@aten("all.default", "all.dim", "all.dims")
def all_(context: Context, x: Value, dim: Dims = None, keepdim: bool = False) -> Value:
    return _reduce(context, "all", context.build.cast(x, "bool"), dim, keepdim)


@aten("max.dim", "min.dim")
def extreme_dim(context: Context, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    largest = context.operator == "max.dim"
    values = _reduce(context, "max" if largest else "min", x, dim, keepdim)
    return values, _arg(context, x, dim, keepdim, largest)


@aten("argmax.default", "argmin.default")
def arg_extreme(context: Context, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    return _arg(context, x, dim, keepdim, context.operator == "argmax.default")


def _arg(context: Context, x: Value, dim: int | None, keepdim: bool, largest: bool) -> Value:
    build = context.build
    if dim is None or not x.shape:
        index = build.arg_reduce(build.reshape(x, (x.elements,)), largest)
        return build.reshape(index, (1,) * len(x.shape) if keepdim else ())
    dim %= len(x.shape)
    order = [axis for axis in range(len(x.shape)) if axis != dim]
    index = build.arg_reduce(build.permute(x, [*order, dim]), largest)
    if keepdim:
        return build.reshape(index, (*x.shape[:dim], 1, *x.shape[dim + 1 :]))
    return index


@aten("var.correction", "var.dim", "std.correction", "std.dim", "var_mean.correction")
def variance(
    context: Context,
    x: Value,
    dim: Dims = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> Value | tuple[Value, Value]:
    build = context.build
    axes = [axis % len(x.shape) for axis in _axes(x, dim)]
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    if correction is None:
        correction = 1.0 if unbiased else 0.0
    mean = build.reduce("mean", x, axes, True)
    spread = build.reduce("sum", build.map("square", build.map("sub", x, mean)), axes, keepdim)
    divisor = max(count - correction, 0.0)
    result = build.map("div", spread, divisor)
    if context.operator.startswith("std"):
        return build.map("sqrt", result)
    if context.operator.startswith("var_mean"):
        mean = _running_mean(build, x, axes, mean)
        return result, mean if keepdim else build.reshape(mean, result.shape)
    return result


def _running_mean(build: Builder, x: Value, axes: Sequence[int], mean: Value) -> Value:
    """ATen's mean beside a variance is updated number by number: one after an infinity makes it NaN."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    count = math.prod(x.shape[axis] for axis in axes)
    if count < 2:
        return mean
    row = build.reshape(build.permute(x, [*kept, *axes]), (*(x.shape[axis] for axis in kept), count))
    before = build.reduce("sum", build.slice(row, -1, 0, count - 1), [-1], False)
    steady = build.map("eq", build.map("sub", before, before), 0.0)
    return build.map("where", build.reshape(steady, mean.shape), mean, math.nan, dtype=mean.dtype)


@aten("logsumexp.default")
def logsumexp(context: Context, x: Value, dim: Dims, keepdim: bool = False) -> Value:
    build, axes = context.build, _axes(x, dim)
    top = build.reduce("max", x, axes, True)
    finite = build.map("lt", build.map("abs", top), float("inf"))
    shift = build.map("where", finite, top, 0.0, dtype=x.dtype)  # an infinite maximum must not give inf − inf
    total = build.reduce("sum", build.map("exp", build.map("sub", x, shift)), axes, keepdim)
    return build.map("add", build.map("log", total), build.reshape(shift, total.shape))


@aten("linalg_vector_norm.default", "norm.ScalarOpt_dim")
def vector_norm(
    context: Context, x: Value, order: float = 2.0, dim: Dims = None, keepdim: bool = False, **_: Any
) -> Value:
    build, axes = context.build, _axes(x, dim)
    if order == 2:
        return build.map("sqrt", build.reduce("sum", build.map("square", x), axes, keepdim))
    if order == 1:
        return build.reduce("sum", build.map("abs", x), axes, keepdim)
    size = build.map("abs", x)
    if order == float("inf"):
        return build.reduce("max", size, axes, keepdim)
    if order == float("-inf"):
        return build.reduce("min", size, axes, keepdim)
    if order == 0:
        return build.reduce("sum", build.cast(build.map("ne", x, 0.0), x.dtype), axes, keepdim)
    total = build.reduce("sum", build.map("pow", size, float(order)), axes, keepdim)
    return build.map("pow", total, 1.0 / order)


@aten("softmax.int", "_softmax.default", "log_softmax.int", "_log_softmax.default")
def softmax(context: Context, x: Value, dim: int, *_: Any, **__: Any) -> Value:
    return context.build.softmax(context.build.cast(x, context.dtype), dim, "log" in context.operator)


@aten("_softmax_backward_data.default")
def softmax_backward(context: Context, gradient: Value, output: Value, dim: int, *_: Any) -> Value:
    build = context.build
    if not output.shape:
        return softmax_backward(context, build.reshape(gradient, (1,)), build.reshape(output, (1,)), 0)
    total = build.reduce("sum", build.map("mul", gradient, output), [dim], True)
    return build.map("mul", build.map("sub", gradient, total), output)
