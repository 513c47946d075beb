"""Pooling, as sliding windows and a reduction; windows that differ are slices, or lists of places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import ReduceKind, Value
from grandopt.compiler.backends.native.operators.indexing import bounded
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, as_list, aten
from grandopt.signature import Array


@dataclass(frozen=True)
class _Axis:
    """The windows along one axis: `count` of `kernel` elements, some of them beyond the `size` there are."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int

    @property
    def behind(self) -> int:
        """Elements missing (more than there are: negative) at the end."""
        return (
            (self.count - 1) * self.stride + self.dilation * (self.kernel - 1) + 1 - self.size - self.padding
        )

    def taps(self, position: int) -> list[int]:
        """The elements of a window that exist."""
        first = position * self.stride - self.padding
        taps = (first + tap * self.dilation for tap in range(self.kernel))
        return [tap for tap in taps if 0 <= tap < self.size]


def _axes(
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[_Axis]:
    """The windows as ATen counts them: with `ceil_mode` the last may reach beyond the end, if it starts
    before it."""
    rank = len(kernel)
    found = []
    values = zip(x.shape[-rank:], kernel, stride, padding, dilation, strict=True)
    for size, width, step, pad, apart in values:
        room = size + 2 * pad - apart * (width - 1) - 1
        count = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (count - 1) * step >= size + pad:
            count -= 1
        found.append(_Axis(size, width, step, pad, apart, count))
    return found


def _windows(build: Builder, x: Value, axes: Sequence[_Axis], fill: float) -> Value:
    padded = build.border(x, [a.padding for a in axes], [a.behind for a in axes], fill)
    return build.window(
        padded, [a.kernel for a in axes], [a.stride for a in axes], [a.dilation for a in axes]
    )


def _reduced(build: Builder, kind: ReduceKind, windows: Value, rank: int) -> Value:
    axes = len(windows.shape)
    return build.reduce(kind, windows, range(axes - rank, axes), False)


@aten(
    "max_pool1d.default", "max_pool2d.default", "max_pool3d.default", "max_pool1d_with_indices.default",
    "max_pool2d_with_indices.default", "max_pool3d_with_indices.default",
)  # fmt: skip
def max_pool(
    context: Context,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Value | tuple[Value, ...]:
    if not x.dtype.startswith("float"):
        raise ConditionError(f"of {x.dtype}")
    build, rank = context.build, int(context.operator[len("max_pool")])
    kernel = as_list(kernel, rank)
    steps, pads, apart = (as_list(v, rank) for v in (stride or kernel, padding, dilation))
    axes = _axes(x, kernel, steps, pads, apart, ceil_mode)
    values = _reduced(build, "max", _windows(build, x, axes, -math.inf), rank)
    if "indices" not in context.operator:
        return values
    return values, _places_of_maxima(build, x, [[a.taps(p) for p in range(a.count)] for a in axes])


@aten("adaptive_max_pool1d.default", "adaptive_max_pool2d.default", "adaptive_max_pool3d.default")
def adaptive_max_pool(context: Context, x: Value, size: Sequence[int]) -> tuple[Value, ...]:
    build, windows = context.build, _adaptive_windows(x, size)
    return _by_axes(build, "max", x, windows), _places_of_maxima(build, x, windows)


@aten(
    "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "adaptive_avg_pool3d.default",
    "_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default",
)  # fmt: skip
def adaptive_avg_pool(context: Context, x: Value, size: Sequence[int]) -> Value:
    build, rank = context.build, len(size)
    spatial = x.shape[-rank:]
    if any(n % m for n, m in zip(spatial, size, strict=True)):
        return _by_axes(build, "mean", x, _adaptive_windows(x, size))
    kernel = [n // m for n, m in zip(spatial, size, strict=True)]
    return _reduced(build, "mean", build.window(x, kernel, kernel, [1] * rank), rank)


def _adaptive_windows(x: Value, size: Sequence[int]) -> list[list[list[int]]]:
    """Per axis, per position: its elements. Windows overlap where the sizes do not divide."""
    return [
        [list(range(i * n // m, -(-(i + 1) * n // m))) for i in range(m)]
        for n, m in zip(x.shape[-len(size) :], size, strict=True)
    ]


def _by_axes(build: Builder, kind: ReduceKind, x: Value, windows: list[list[list[int]]]) -> Value:
    """Reduced along one axis after the other: each position is a slice."""
    for axis, places in enumerate(windows, start=len(x.shape) - len(windows)):
        parts = [
            build.reduce(kind, build.slice(x, axis, taps[0], len(taps)), [axis], True) for taps in places
        ]
        x = build.concat(parts, axis)
    return x


def _places_of_maxima(build: Builder, x: Value, windows: list[list[list[int]]]) -> Value:
    """Where in the flattened last axes the largest element of each window lies.

    `windows` lists elements per axis and position. Short windows repeat their last element, which changes
    neither what is largest nor where.
    """
    rank = len(windows)
    lead, spatial = x.shape[:-rank], x.shape[-rank:]
    tables = [
        np.ravel_multi_index(np.meshgrid(*position, indexing="ij"), spatial).reshape(-1)
        for position in itertools.product(*windows)
    ]
    most = max(len(table) for table in tables)
    table = np.stack([np.pad(one, (0, most - len(one)), mode="edge") for one in tables])
    flat = build.reshape(x, (*lead, math.prod(spatial)))
    best = build.arg_reduce(build.take(flat, table), True, last_nan=True)
    rows = np.arange(len(table), dtype=np.int64) * most
    found = build.gather(build.constant(table.reshape(-1)), build.map("add", best, build.constant(rows)))
    return build.reshape(found, (*lead, *(len(places) for places in windows)))


@aten("max_unpool2d.default", "max_unpool3d.default")
def max_unpool(context: Context, x: Value, places: Value, *_: Sequence[int]) -> Value:
    """Each element at its place in its plane of zeros."""
    build, rank = context.build, int(context.operator[len("max_unpool")])
    planes, size = math.prod(x.shape[:-rank]), math.prod(context.shape[-rank:])
    starts = np.arange(planes, dtype=np.int64).reshape(*x.shape[:-rank], *(1,) * rank) * size
    inside = bounded(build, places, size)
    base = build.constant(np.zeros(context.shape, x.dtype))
    return build.scatter("set", base, build.map("add", inside, build.constant(starts)), x)


@aten("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default")
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
    build, rank = context.build, int(context.operator[len("avg_pool")])
    if not x.dtype.startswith("float"):
        raise ConditionError(f"of {x.dtype}")
    kernel = as_list(kernel, rank)
    axes = _axes(x, kernel, as_list(stride or kernel, rank), as_list(padding, rank), [1] * rank, ceil_mode)
    windows = _windows(build, x, axes, 0.0)
    divisors = _divisors(axes, count_include_pad)
    if divisor_override is None and (divisors == math.prod(kernel)).all():
        return _reduced(build, "mean", windows, rank)
    total = _reduced(build, "sum", windows, rank)
    if divisor_override is not None:
        return build.map("div", total, float(divisor_override))
    return build.map("div", total, build.constant(divisors.astype(x.dtype)))


def _divisors(axes: Sequence[_Axis], padded: bool) -> Array:
    """How many elements each window counts: those that exist, or also the declared padding's."""
    result = np.ones((), np.int64)
    for axis in axes:
        if padded:
            starts = np.arange(axis.count) * axis.stride - axis.padding
            counts = np.minimum(starts + axis.kernel, axis.size + axis.padding) - starts
        else:
            counts = np.array([len(axis.taps(position)) for position in range(axis.count)])
        result = result[..., np.newaxis] * counts
    return np.asarray(result)
