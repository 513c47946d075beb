"""Layer, batch, group and RMS normalisation, as they compute in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Normalize, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten
from grandopt.errors import UnsupportedError


def add_normalize(
    build: Builder, x: Value, weight: Value | None, bias: Value | None, epsilon: float, center: bool
) -> Value:
    """Normalise x [..., L] over its last axis, then scale and shift by weight and bias [L]."""
    if x.dtype != "float32":
        raise UnsupportedError(f"normalisation of {x.dtype} is not covered by the native engine")
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
    return (result, None, None) if context.operator.startswith("native") else result


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
) -> tuple[Value | None, ...]:
    return group_norm(context, x, groups, weight, bias, eps), None, None


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
    eps = rest[1] if legit else rest[2]
    if (not legit and rest[0]) or mean is None or variance is None:
        raise UnsupportedError("batch norm without running statistics mixes the batch; it is not covered")
    parts = [v if v is None else v.data for v in (weight, bias, mean, variance)]
    if parts[2] is None or parts[3] is None or not isinstance(eps, float):
        raise UnsupportedError("batch norm whose statistics are not constants is not covered")
    scale = 1.0 / np.sqrt(parts[3].astype(np.float64) + eps)
    scale = scale if parts[0] is None else scale * parts[0]
    shift = -parts[2] * scale + (0.0 if parts[1] is None else parts[1])
    build = context.build
    result = _per_channel(
        build, x, build.constant(scale.astype(np.float32)), build.constant(shift.astype(np.float32))
    )
    return (result, None, None) if legit else result
