"""Convolution, plain and transposed, with the channels last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Convolve, Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, as_list, aten
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
    groups = int(str(rest[-1])) if rest else 1
    if isinstance(padding, str):
        raise ConditionError(f"with padding={padding!r}")
    if len(x.shape) != len(weight.shape):
        raise ConditionError("of an input without a batch")
    if weight.data is None or (bias is not None and bias.data is None):
        raise ConditionError("with weights that are computed")
    build, rank = context.build, len(weight.shape) - 2
    pads, steps, apart = (as_list(v, rank) for v in (padding, stride, dilation))
    kernel = weight.data
    if context.operator.startswith("convolution") and rest[0]:
        spread = [d * (n - 1) for d, n in zip(apart, kernel.shape[2:], strict=True)]
        pads = [reach - pad for reach, pad in zip(spread, pads, strict=True)]
        x, kernel = _spread_out(build, x, steps), _mirrored(kernel, groups)
        steps = [1] * rank
    biases = np.zeros(kernel.shape[0], np.float32) if bias is None else bias.constant
    spatial = context.shape[2:]
    last = build.permute(x, (0, *range(2, rank + 2), 1))
    weights = np.moveaxis(kernel, 1, -1)
    if groups == kernel.shape[0] == x.shape[1]:
        product = _convolve(build, last, weights, biases, spatial, steps, apart, pads)
    else:
        inside, outside = kernel.shape[1], kernel.shape[0] // groups
        product = build.concat(
            [
                _convolve(
                    build,
                    build.slice(last, -1, g * inside, inside),
                    weights[g * outside : (g + 1) * outside],
                    biases[g * outside : (g + 1) * outside],
                    spatial,
                    steps,
                    apart,
                    pads,
                )
                for g in range(groups)
            ],
            -1,
        )
    return build.permute(product, (0, rank + 1, *range(1, rank + 1)))


def _convolve(
    build: Builder,
    x: Value,
    weight: Array,
    bias: Array,
    spatial: Sequence[int],
    steps: Sequence[int],
    apart: Sequence[int],
    before: Sequence[int],
) -> Value:
    """One group, all channels last."""
    if x.dtype != "float32":
        raise ConditionError(f"of {x.dtype}")
    constants = build.constant(weight), build.constant(bias)
    output = build.value((x.shape[0], *spatial, weight.shape[0]), x.dtype)
    build.add(Convolve((x, *constants), (output,), tuple(steps), tuple(apart), tuple(before)))
    return output


def _spread_out(build: Builder, x: Value, steps: Sequence[int]) -> Value:
    """Neighbours `steps` apart, with zeros between them: what a transposed convolution reads."""
    for axis, step in enumerate(steps, start=2):
        size = x.shape[axis]
        if step > 1:
            ahead, behind = x.shape[:axis], x.shape[axis + 1 :]
            split = build.reshape(x, (*ahead, size, 1, *behind))
            wide = build.border(split, [0] * (len(behind) + 1), [step - 1, *(0 for _ in behind)], 0.0)
            joined = build.reshape(wide, (*ahead, size * step, *behind))
            x = build.slice(joined, axis, 0, (size - 1) * step + 1)
    return x


def _mirrored(weight: Array, groups: int) -> Array:
    """Weights [C, N / groups, kernel…] of a transposed convolution as those of a plain one."""
    split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    turned = np.flip(split.swapaxes(1, 2), axis=tuple(range(3, split.ndim)))
    return np.ascontiguousarray(turned.reshape(-1, *turned.shape[2:]))
