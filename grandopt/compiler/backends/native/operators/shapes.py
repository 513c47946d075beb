"""Operators that move or join elements without computing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grandopt.compiler.backends.native.form import Pad, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten
from grandopt.errors import UnsupportedError


@aten(
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int",
    "unsqueeze.default", "squeeze.dim", "squeeze.dims", "squeeze.default", "view_copy.default",
    "_reshape_copy.default",
)  # fmt: skip
def reshape(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.build.reshape(x, context.shape)


@aten("permute.default")
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


@aten("unbind.int")
def unbind(context: Context, x: Value, dim: int = 0) -> tuple[Value, ...]:
    return tuple(context.build.select(x, dim, i) for i in range(x.shape[dim]))


@aten("split_with_sizes.default", "split.sizes", "split.Tensor", "chunk.default")
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


@aten("roll.default")
def roll(context: Context, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    build = context.build
    if not dims:
        raise UnsupportedError("aten.roll over the flattened tensor is not covered by the native engine")
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
        raise UnsupportedError(f"aten.pad with mode {mode!r} is not covered by the native engine")
    fill = value if isinstance(mode, str) else mode
    build, before = context.build, [0] * len(x.shape)
    for i in range(len(pads) // 2):
        axis, ahead, behind = len(x.shape) - 1 - i, pads[2 * i], pads[2 * i + 1]
        keep = x.shape[axis] + min(ahead, 0) + min(behind, 0)
        x = build.slice(x, axis, max(-ahead, 0), keep)
        before[axis] = max(ahead, 0)
    if x.shape == context.shape:
        return x
    output = build.value(context.shape, x.dtype)
    build.add(Pad((x,), (output,), tuple(before), float(fill or 0.0)))
    return output
