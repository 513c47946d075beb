"""Convolution and pooling, as sliding windows and a matrix product or a reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Pad, Permute, Value
from grandopt.compiler.backends.native.operators.products import add_linear
from grandopt.compiler.backends.native.operators.registry import Context, as_list, aten
from grandopt.errors import UnsupportedError
from grandopt.signature import Array


@aten("convolution.default", "conv1d.default", "conv2d.default", "conv3d.default")
def convolution(
    context: Context,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    *rest: object,
) -> Value:
    """x [1, C, spatial…] with weight [N, C / groups, kernel…] → [1, N, positions…]."""
    transposed = context.operator.startswith("convolution") and bool(rest[0])
    groups = int(str(rest[-1])) if rest else 1
    if transposed or isinstance(padding, str) or len(x.shape) != len(weight.shape):
        raise UnsupportedError("transposed, string-padded or unbatched convolution is not covered")
    if weight.data is None or (bias is not None and bias.data is None):
        raise UnsupportedError("a convolution whose weights are not constants is not covered")
    build, rank = context.build, len(weight.shape) - 2
    kernel = weight.shape[2:]
    last = _has_channels_last(build, x)
    x = _border(build, x, as_list(padding, rank), 0.0)
    windows = build.window(x, kernel, as_list(stride, rank), as_list(dilation, rank))
    biases = np.zeros(weight.shape[0], np.float32) if bias is None else bias.data
    assert biases is not None
    inside, outside = weight.shape[1], weight.shape[0] // groups
    parts = [
        _group(
            build,
            build.slice(windows, 1, g * inside, inside),
            weight.data[g * outside : (g + 1) * outside],
            biases[g * outside : (g + 1) * outside],
            last,
        )
        for g in range(groups)
    ]
    return build.reshape(build.concat(parts, 1), context.shape)


def _group(build: Builder, windows: Value, weight: Array, bias: Array, channels_last: bool) -> Value:
    """One group as a product of patches [positions, kernel · C] and the weights.

    Products leave the channels last in memory: in a patch of a deeper layer they come last, which makes long
    contiguous runs; in a patch of an input with the channels first, the rows of the kernel do.
    """
    rank = weight.ndim - 2
    positions = tuple(range(2, 2 + rank))
    taps = tuple(range(2 + rank, 2 + 2 * rank))
    inside = (*taps, 1) if channels_last else (1, *taps)
    patches = build.permute(windows, (0, *positions, *inside))
    spatial = tuple(windows.shape[axis] for axis in positions)
    rows = build.reshape(patches, (math.prod(spatial), math.prod(weight.shape[1:])))
    flat = np.moveaxis(weight, 1, -1) if channels_last else weight
    constant = build.constant(flat.reshape(weight.shape[0], -1))
    product = add_linear(build, rows, constant, build.constant(bias))
    wide = build.reshape(product, (1, *spatial, weight.shape[0]))
    return build.permute(wide, (0, rank + 1, *range(1, rank + 1)))


def _has_channels_last(build: Builder, x: Value) -> bool:
    """Whether x is, but for element-wise ops, borders and pooling, the transposed result of a product."""
    producers = {value: op for op in build.ops for value in op.outputs}
    while (op := producers.get(x)) is not None:
        if isinstance(op, Permute):
            return True
        x = next((value for value in op.inputs if value.data is None), x)
        if x in op.outputs:
            return False
    return False


def _border(build: Builder, x: Value, padding: Sequence[int], fill: float) -> Value:
    if not any(padding):
        return x
    before = (*(0,) * (len(x.shape) - len(padding)), *padding)
    shape = [n + 2 * p for n, p in zip(x.shape, before, strict=True)]
    output = build.value(shape, x.dtype)
    build.add(Pad((x,), (output,), before, fill))
    return output


def _pool(
    build: Builder,
    kind: Literal["max", "mean"],
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Value:
    windows = build.window(x, kernel, stride, dilation)
    rank, axes = len(kernel), len(windows.shape)
    return build.reduce(kind, windows, range(axes - rank, axes), False)


@aten("max_pool2d.default", "max_pool1d.default", "max_pool2d_with_indices.default")
def max_pool(
    context: Context,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Value | tuple[Value | None, ...]:
    if ceil_mode:
        raise UnsupportedError("pooling with ceil_mode is not covered by the native engine")
    rank = 1 if context.operator.startswith("max_pool1d") else 2
    kernel = as_list(kernel, rank)
    padded = _border(context.build, x, as_list(padding, rank), -math.inf)
    strides = as_list(stride or kernel, rank)
    result = _pool(context.build, "max", padded, kernel, strides, as_list(dilation, rank))
    return (result, None) if context.operator.startswith("max_pool2d_with") else result


@aten("avg_pool2d.default", "avg_pool1d.default")
def avg_pool(
    context: Context,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    rank = 1 if context.operator.startswith("avg_pool1d") else 2
    pads = as_list(padding, rank)
    if ceil_mode or divisor_override is not None or (any(pads) and not count_include_pad):
        raise UnsupportedError(
            "average pooling with ceil_mode, a divisor or uncounted padding is not covered"
        )
    kernel = as_list(kernel, rank)
    padded = _border(context.build, x, pads, 0.0)
    return _pool(context.build, "mean", padded, kernel, as_list(stride or kernel, rank), [1] * rank)


@aten("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool(context: Context, x: Value, size: Sequence[int]) -> Value:
    rank = len(size)
    lead = x.shape[: len(x.shape) - rank]
    spatial = x.shape[len(lead) :]
    if any(n % m for n, m in zip(spatial, size, strict=True)):
        raise UnsupportedError(
            f"adaptive pooling of {list(spatial)} to {list(size)} has unequal windows; it is not covered"
        )
    kernel = [n // m for n, m in zip(spatial, size, strict=True)]
    return _pool(context.build, "mean", x, kernel, kernel, [1] * rank)
