"""Operators that move or join elements without computing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


@aten(
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int",
    "unsqueeze.default", "squeeze.dim", "squeeze.dims", "squeeze.default", "view_copy.default",
    "_reshape_copy.default",
)  # fmt: skip
def reshape(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.build.reshape(x, context.shape)


@aten("permute.default", "permute_copy.default")
def permute(context: Context, x: Value, dims: Sequence[int]) -> Value:
    return context.build.permute(x, [d % len(x.shape) for d in dims])


@aten("transpose.int", "swapaxes.default")
def transpose(context: Context, x: Value, first: int, second: int) -> Value:
    return context.build.swap(x, first, second)


@aten("t.default", "numpy_T.default", "mT.default")
def t(context: Context, x: Value) -> Value:
    return context.build.swap(x, -1, -2) if len(x.shape) >= 2 else x


@aten("expand.default", "expand_as.default", "broadcast_to.default")
def expand(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.build.expand(x, context.shape)


@aten("repeat.default")
def repeat(context: Context, x: Value, repeats: Sequence[int]) -> Value:
    build = context.build
    lead = len(repeats) - len(x.shape)
    shape = (*(1,) * lead, *x.shape)
    paired = [n for size in shape for n in (1, size)]
    tiled = [n for times, size in zip(repeats, shape, strict=True) for n in (times, size)]
    return build.reshape(build.expand(build.reshape(x, paired), tiled), context.shape)


@aten("slice.Tensor", "narrow.default")
def slice_(
    context: Context, x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    size = context.shape[dim]
    if context.operator == "narrow.default":
        return context.build.slice(x, dim, (start or 0) % x.shape[dim], size)
    first = slice(start, None).indices(x.shape[dim])[0]
    return context.build.slice(x, dim, first, size, step)


@aten("select.int")
def select(context: Context, x: Value, dim: int, index: int) -> Value:
    return context.build.select(x, dim, index)


@aten("unbind.int", "unbind_copy.int")
def unbind(context: Context, x: Value, dim: int = 0) -> tuple[Value, ...]:
    return tuple(context.build.select(x, dim, i) for i in range(x.shape[dim]))


@aten(
    "split_with_sizes.default",
    "split.sizes",
    "split.Tensor",
    "chunk.default",
    "split_with_sizes_copy.default",
)
def split(context: Context, x: Value, sizes: int | Sequence[int], dim: int = 0) -> tuple[Value, ...]:
    total = x.shape[dim]
    if context.operator == "chunk.default":
        sizes = -(-total // int(sizes))  # type: ignore[arg-type]
    if isinstance(sizes, int):
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(context.build.slice(x, dim, a, n) for a, n in zip(starts, sizes, strict=True))


@aten("cat.default", "concat.default")
def cat(context: Context, parts: Sequence[Value], dim: int = 0) -> Value:
    kept = [context.build.cast(part, context.dtype) for part in parts if part.shape != (0,)]
    return context.build.concat(kept, dim)


@aten("stack.default")
def stack(context: Context, parts: Sequence[Value], dim: int = 0) -> Value:
    dim %= len(context.shape)
    shape = (*parts[0].shape[:dim], 1, *parts[0].shape[dim:])
    wide = [context.build.reshape(context.build.cast(part, context.dtype), shape) for part in parts]
    return context.build.concat(wide, dim)


@aten("flip.default")
def flip(context: Context, x: Value, dims: Sequence[int]) -> Value:
    for dim in dims:
        x = context.build.slice(x, dim, x.shape[dim] - 1, x.shape[dim], -1)
    return x


@aten("diagonal.default", "diagonal_copy.default", "linalg_diagonal.default")
def diagonal(context: Context, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    build, rank = context.build, len(x.shape)
    first, second = dim1 % rank, dim2 % rank
    order = [axis for axis in range(rank) if axis not in (first, second)]
    rows, columns = x.shape[first], x.shape[second]
    moved = build.permute(x, (*order, first, second))
    flat = build.reshape(moved, (*moved.shape[:-2], rows * columns))
    start = offset if offset >= 0 else -offset * columns
    return build.slice(flat, -1, start, context.shape[-1], columns + 1)


@aten("unfold.default", "unfold_copy.default")
def unfold(context: Context, x: Value, dimension: int, size: int, step: int) -> Value:
    """Windows along one axis, their elements in a new last axis."""
    build = context.build
    if not x.shape:
        return build.reshape(x, (1,))
    axis = dimension % len(x.shape)
    windows = build.window(build.swap(x, axis, -1), [size], [step], [1])
    return build.swap(windows, axis, -2) if axis != len(x.shape) - 1 else windows


@aten("im2col.default")
def im2col(
    context: Context,
    x: Value,
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Value:
    """[1, C, H, W] → [1, C · taps, positions]."""
    build = context.build
    windows = build.window(build.border(x, padding, padding, 0.0), kernel, stride, dilation)
    lead = len(x.shape) - 2
    order = (*range(lead), lead + 2, lead + 3, lead, lead + 1)
    return build.reshape(build.permute(windows, order), context.shape)


@aten("as_strided.default", "as_strided_copy.default")
def as_strided(
    context: Context, x: Value, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Value:
    """Of one sample, as long as it reads nothing of another one."""
    reach = (offset or 0) + sum((n - 1) * step for n, step in zip(context.shape, stride, strict=True))
    if reach >= x.elements or x.shape[:1] != (1,) or not stride or stride[0] != x.elements:
        raise ConditionError("where it reads beyond one sample")
    places = np.asarray(offset or 0)
    for n, step in zip(context.shape, stride, strict=True):
        places = places[..., np.newaxis] + np.arange(n) * step
    return context.build.take(context.build.reshape(x, (x.elements,)), places)


@aten("copy.default")
def copy(context: Context, x: Value, source: Value, *_: Any) -> Value:
    return context.build.expand(context.build.cast(source, context.dtype), context.shape)


@aten("roll.default")
def roll(context: Context, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    build = context.build
    if not dims:
        flat = roll(context, build.reshape(x, (x.elements,)), shifts, [0])
        return build.reshape(flat, x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        cut = -shift % size
        if cut:
            x = build.concat([build.slice(x, dim, cut, size - cut), build.slice(x, dim, 0, cut)], dim)
    return x


@aten("constant_pad_nd.default", "pad.default")
def pad(
    context: Context, x: Value, pads: Sequence[int], mode: Any = 0.0, value: float | None = None
) -> Value:
    if isinstance(mode, str) and mode != "constant":
        raise ConditionError(f"with mode={mode!r}")
    fill = value if isinstance(mode, str) else mode
    return context.build.border(x, pads[-2::-2], pads[-1::-2], float(fill or 0.0))
