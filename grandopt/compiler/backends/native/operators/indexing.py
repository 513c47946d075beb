"""Rows and elements picked by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Gather, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten
from grandopt.errors import UnsupportedError


def _add_gather(build: Builder, table: Value, indices: Value) -> Value:
    whole = build.cast(indices, "int64")
    output = build.value((*whole.shape, *table.shape[1:]), table.dtype)
    build.add(Gather((table, whole), (output,)))
    return output


@aten("embedding.default")
def embedding(
    context: Context,
    weight: Value,
    indices: Value,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    return _add_gather(context.build, weight, indices)


@aten("index_select.default")
def index_select(context: Context, x: Value, dim: int, indices: Value) -> Value:
    build, dim = context.build, dim % len(x.shape)
    order = [dim, *(axis for axis in range(len(x.shape)) if axis != dim)]
    picked = _add_gather(build, build.permute(x, order), _from_end(build, indices, x.shape[dim]))
    back = [*range(1, dim + 1), 0, *range(dim + 1, len(x.shape))]
    return build.permute(picked, back)


@aten("index.Tensor")
def index(context: Context, x: Value, indices: Sequence[Value | None]) -> Value:
    """Advanced indexing with one index tensor, the case that agents use."""
    given = [axis for axis, value in enumerate(indices) if value is not None]
    chosen = indices[given[0]] if given else None
    if len(given) != 1 or chosen is None or chosen.dtype == "bool":
        raise UnsupportedError("aten.index with several or boolean indices is not covered")
    build, dim = context.build, given[0]
    order = [dim, *(axis for axis in range(len(x.shape)) if axis != dim)]
    picked = _add_gather(build, build.permute(x, order), _from_end(build, chosen, x.shape[dim]))
    rank = len(chosen.shape)
    ahead = [rank + axis for axis in range(dim)]
    behind = [rank + axis for axis in range(dim, len(x.shape) - 1)]
    return build.permute(picked, [*ahead, *range(rank), *behind])


@aten("gather.default")
def gather(context: Context, x: Value, dim: int, indices: Value, sparse_grad: bool = False) -> Value:
    """out[i…] = x[…, indices[i…], …]: rows of the flattened input, at addresses computed element-wise."""
    build, dim = context.build, dim % len(x.shape) if x.shape else 0
    if not x.shape:
        return x
    strides = [int(np.prod(x.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(x.shape))]
    base = np.zeros(indices.shape, np.int64)
    for axis, stride in enumerate(strides):
        if axis != dim:
            shape = [1] * len(indices.shape)
            shape[axis] = indices.shape[axis]
            base = base + (np.arange(indices.shape[axis]) * stride).reshape(shape)
    bounded = _add_gather(build, build.constant(np.arange(x.shape[dim])), indices)  # refuses what is outside
    address = build.map("add", build.map("mul", bounded, strides[dim]), build.constant(base))
    return _add_gather(build, build.reshape(x, (x.elements,)), address)


def _from_end(build: Builder, indices: Value, size: int) -> Value:
    """Negative indices count from the end."""
    if indices.data is not None:
        return build.constant(np.where(indices.data < 0, indices.data + size, indices.data))
    whole = build.cast(indices, "int64")
    negative = build.map("lt", whole, 0)
    return build.map("where", negative, build.map("add", whole, size), whole, dtype="int64")
