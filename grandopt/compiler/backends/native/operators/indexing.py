"""Rows and elements picked by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


@aten("embedding.default")
def embedding(
    context: Context,
    weight: Value,
    indices: Value,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    return context.build.gather(weight, indices)


@aten("index_select.default")
def index_select(context: Context, x: Value, dim: int, indices: Value) -> Value:
    build, dim = context.build, dim % len(x.shape)
    order = [dim, *(axis for axis in range(len(x.shape)) if axis != dim)]
    picked = build.gather(build.permute(x, order), from_end(build, indices, x.shape[dim]))
    back = [*range(1, dim + 1), 0, *range(dim + 1, len(x.shape))]
    return build.permute(picked, back)


@aten("index.Tensor", "_unsafe_index.Tensor")
def index(context: Context, x: Value, indices: Sequence[Value | None]) -> Value:
    """Advanced indexing; one index tensor, the case that agents use, takes whole rows."""
    build = context.build
    chosen = [value if value is None else _positions(value) for value in indices]
    given = [(axis, value) for axis, value in enumerate(chosen) if value is not None]
    if len(given) != 1:
        bound = [
            value if value is None else bounded(build, from_end(build, value, size), size)
            for value, size in zip(chosen, x.shape, strict=False)
        ]
        return build.gather(build.reshape(x, (x.elements,)), address(build, x.shape, bound))
    dim, only = given[0]
    order = [dim, *(axis for axis in range(len(x.shape)) if axis != dim)]
    picked = build.gather(build.permute(x, order), from_end(build, only, x.shape[dim]))
    rank = len(only.shape)
    ahead = [rank + axis for axis in range(dim)]
    behind = [rank + axis for axis in range(dim, len(x.shape) - 1)]
    return build.permute(picked, [*ahead, *range(rank), *behind])


def _positions(value: Value) -> Value:
    if value.dtype == "bool":
        raise ConditionError("with indices that are bool")
    return value


@aten("gather.default")
def gather(context: Context, x: Value, dim: int, indices: Value, sparse_grad: bool = False) -> Value:
    """out[i…] = x[…, indices[i…], …]: rows of the flattened input, at addresses computed element-wise."""
    build = context.build
    if not x.shape:
        return build.expand(x, context.shape)
    dim %= len(x.shape)
    grid: list[Value | None] = []
    for axis, size in enumerate(indices.shape):
        shape = [1] * len(indices.shape)
        shape[axis] = size
        grid.append(build.constant(np.arange(size).reshape(shape)))
    grid[dim] = bounded(build, indices, x.shape[dim])
    return build.gather(build.reshape(x, (x.elements,)), address(build, x.shape, grid))


@aten("take.default")
def take(context: Context, x: Value, indices: Value) -> Value:
    build = context.build
    return build.gather(build.reshape(x, (x.elements,)), from_end(build, indices, x.elements))


def bounded(build: Builder, indices: Value, size: int) -> Value:
    """The same indices; one outside of 0 … size − 1 fails the call."""
    if indices.data is not None and ((indices.data >= 0) & (indices.data < size)).all():
        return build.cast(indices, "int64")
    return build.gather(build.constant(np.arange(size)), indices)


def address(build: Builder, shape: Sequence[int], indices: Sequence[Value | None]) -> Value:
    """Places in the flattened tensor of that shape of what `tensor[indices]` picks, in NumPy's layout.

    Axes without an index are taken whole. Those with one are broadcast together, in the place of the first
    if they are neighbours, else in front.
    """
    whole = [*indices, *(None for _ in range(len(shape) - len(indices)))]
    given = [axis for axis, value in enumerate(whole) if value is not None]
    rank = max((len(value.shape) for value in whole if value is not None), default=0)
    joined = not given or given == list(range(given[0], given[-1] + 1))
    ahead = given[0] if given and joined else 0
    rest = [axis for axis in range(len(shape)) if whole[axis] is None]
    total = rank + len(rest)
    result: Value | None = None
    constant = np.zeros((1,) * total, np.int64)
    for axis, value in enumerate(whole):
        stride = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        if value is None:
            place = rest.index(axis)
            sizes = [1] * total
            sizes[place if place < ahead else place + rank] = shape[axis]
            constant = constant + (np.arange(shape[axis]) * stride).reshape(sizes)
        else:
            sizes = [*value.shape, *(1 for _ in range(len(rest) - ahead))]
            if value.data is not None:
                constant = constant + value.data.astype(np.int64).reshape(sizes) * stride
                continue
            term = build.map("mul", build.reshape(build.cast(value, "int64"), sizes), stride)
            result = term if result is None else build.map("add", result, term)
    fixed = build.constant(constant)
    return fixed if result is None else build.map("add", result, fixed)


def from_end(build: Builder, indices: Value, size: int) -> Value:
    """The indices with negative ones counted from the end."""
    if indices.data is not None:
        return build.constant(np.where(indices.data < 0, indices.data + size, indices.data))
    whole = build.cast(indices, "int64")
    negative = build.map("lt", whole, 0)
    return build.map("where", negative, build.map("add", whole, size), whole, dtype="int64")
