"""Layer, batch, group and RMS normalisation, as they compute in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Normalize, Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


def add_normalize(
    build: Builder, x: Value, weight: Value | None, bias: Value | None, epsilon: float, center: bool
) -> Value:
    """Normalise x [..., L] over its last axis, then scale and shift by weight and bias [L]."""
    if x.dtype != "float32":
        raise ConditionError(f"of {x.dtype}")
    length = x.shape[-1]
    weight = weight or build.constant(np.ones(length, np.float32))
    bias = bias or build.constant(np.zeros(length, np.float32))
    output = build.value(x.shape, x.dtype)
    build.add(Normalize((x, weight, bias), (output,), float(epsilon), center))
    return output


def _over_trailing(
    build: Builder,
    x: Value,
    axes: int,
    weight: Value | None,
    bias: Value | None,
    epsilon: float,
    center: bool,
) -> Value:
    lead = x.shape[: len(x.shape) - axes]
    length = int(np.prod(x.shape[len(lead) :]))
    flat = build.reshape(x, (*lead, length))
    scale, shift = (None if v is None else build.reshape(v, (length,)) for v in (weight, bias))
    return build.reshape(add_normalize(build, flat, scale, shift, epsilon, center), x.shape)


@aten("layer_norm.default", "native_layer_norm.default")
def layer_norm(
    context: Context,
    x: Value,
    shape: Sequence[int],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value | tuple[Value | None, ...]:
    result = _over_trailing(context.build, x, len(shape), weight, bias, eps, True)
    if not context.operator.startswith("native"):
        return result
    axes = range(len(x.shape) - len(shape), len(x.shape))
    return result, *_moments(context.build, x, axes, eps)


def _moments(build: Builder, x: Value, axes: Sequence[int], eps: float) -> tuple[Value, Value]:
    """Mean and 1 / standard deviation over some axes, which stay with size 1."""
    mean = build.reduce("mean", x, axes, True)
    spread = build.reduce("mean", build.map("square", build.map("sub", x, mean)), axes, True)
    return mean, build.map("rsqrt", build.map("add", spread, eps))


@aten("rms_norm.default")
def rms_norm(
    context: Context, x: Value, shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    epsilon = float(np.finfo(np.float32).eps) if eps is None else eps
    return _over_trailing(context.build, x, len(shape), weight, None, epsilon, False)


@aten("group_norm.default")
def group_norm(
    context: Context,
    x: Value,
    groups: int,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Value:
    build = context.build
    flat = build.reshape(x, (x.shape[0], groups, x.elements // (x.shape[0] * groups)))
    result = build.reshape(add_normalize(build, flat, None, None, eps, True), x.shape)
    return _per_channel(build, result, weight, bias)


@aten("native_group_norm.default")
def native_group_norm(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    n: int,
    channels: int,
    positions: int,
    groups: int,
    eps: float,
) -> tuple[Value, ...]:
    flat = context.build.reshape(x, (n, groups, x.elements // (n * groups)))
    moments = _moments(context.build, flat, [2], eps)
    result = group_norm(context, x, groups, weight, bias, eps)
    return result, *(context.build.reshape(value, (n, groups)) for value in moments)


@aten("instance_norm.default")
def instance_norm(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    variance: Value | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Value:
    if not use_input_stats:
        return _by_statistics(context.build, x, weight, bias, mean, variance, eps)
    return group_norm(context, x, x.shape[1], weight, bias, eps)


def _per_channel(build: Builder, x: Value, scale: Value | None, shift: Value | None) -> Value:
    """Axis 1 holds the channels."""
    behind = (1,) * (len(x.shape) - 2)
    if scale is not None:
        x = build.map("mul", x, build.reshape(scale, (scale.elements, *behind)))
    if shift is not None:
        x = build.map("add", x, build.reshape(shift, (shift.elements, *behind)))
    return x


@aten("batch_norm.default", "_native_batch_norm_legit_no_training.default")
def batch_norm(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    variance: Value | None,
    *rest: object,
) -> Value | tuple[Value | None, ...]:
    """(x − mean) / sqrt(variance + eps) · weight + bias, made one scale and one shift in float64."""
    legit = context.operator.startswith("_native")
    eps = float(str(rest[1] if legit else rest[2]))
    if not legit and rest[0]:
        raise ConditionError("in training mode, which mixes the samples of a batch,")
    result = _by_statistics(context.build, x, weight, bias, mean, variance, eps)
    return (result, None, None) if legit else result


def _by_statistics(
    build: Builder,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    variance: Value | None,
    eps: float,
) -> Value:
    if mean is None or variance is None:
        raise ConditionError("without running statistics, which mixes the samples of a batch,")
    given = [v for v in (weight, bias, mean, variance) if v is not None]
    if any(value.data is None for value in given):
        raise ConditionError("with statistics or weights that are computed")
    scale = 1.0 / np.sqrt(variance.constant.astype(np.float64) + eps)
    scale = scale if weight is None else scale * weight.constant
    shift = -mean.constant * scale + (0.0 if bias is None else bias.constant)
    return _per_channel(
        build, x, build.constant(scale.astype(x.dtype)), build.constant(shift.astype(x.dtype))
    )
