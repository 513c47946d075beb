"""Linear interpolation to another size: along each axis, two neighbours by constant weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


@aten(
    "upsample_linear1d.default", "upsample_bilinear2d.default",
)  # fmt: skip
def upsample(
    context: Context, x: Value, size: Sequence[int], align_corners: bool, *scales: float | None
) -> Value:
    return _resampled(context, x, align_corners, scales)


@aten("upsample_linear1d.vec", "upsample_bilinear2d.vec")
def upsample_by(
    context: Context, x: Value, size: Any, align_corners: bool, scales: Sequence[float] | None
) -> Value:
    return _resampled(context, x, align_corners, scales or ())


def _resampled(context: Context, x: Value, aligned: bool, scales: Sequence[float | None]) -> Value:
    if x.dtype != "float32":
        raise ConditionError(f"of {x.dtype}")
    rank = len(x.shape) - 2
    given = [*scales, *(None for _ in range(rank - len(scales)))]
    for axis in range(len(x.shape) - 1, 1, -1):
        x = _along(context.build, x, axis, context.shape[axis], aligned, given[axis - 2])
    return x


def _along(build: Builder, x: Value, axis: int, size: int, aligned: bool, scale: float | None) -> Value:
    first, second, share = _neighbours(x.shape[axis], size, aligned, scale)
    last = build.swap(x, axis, -1)
    parts = [
        build.map("mul", build.take(last, places), build.constant(weights))
        for places, weights in ((first, np.float32(1.0) - share), (second, share))
    ]
    return build.swap(build.map("add", *parts), axis, -1)


def _neighbours(size: int, wanted: int, aligned: bool, scale: float | None) -> tuple[Any, Any, Any]:
    """For each position the elements below and above, and the second one's share; in float32, as in ATen."""
    position = np.arange(wanted, dtype=np.float32)
    if aligned:
        source = position * np.float32((size - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        ratio = np.float32(1.0 / scale if scale else size / wanted)
        source = np.maximum(ratio * (position + np.float32(0.5)) - np.float32(0.5), np.float32(0.0))
    first = np.minimum(source.astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    share = np.clip(source - first.astype(np.float32), np.float32(0.0), np.float32(1.0))
    return first, second, share.astype(np.float32)
