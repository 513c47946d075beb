"""Operators that write values at places of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.builder import Builder, Operand
from grandopt.compiler.backends.native.form import ScatterKind, Value
from grandopt.compiler.backends.native.operators.indexing import address, bounded, from_end
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten
from grandopt.signature import Array

KINDS: dict[str, ScatterKind] = {
    "sum": "sum", "add": "sum", "mean": "sum", "prod": "prod", "multiply": "prod", "amax": "max",
    "amin": "min",
}  # fmt: skip


@aten(
    "scatter.src", "scatter.value", "scatter.reduce", "scatter.value_reduce", "scatter_add.default",
)  # fmt: skip
def scatter(
    context: Context, x: Value, dim: int, indices: Value, source: Operand, *, reduce: str | None = None
) -> Value:
    kind: ScatterKind = "sum" if context.operator.startswith("scatter_add") else "set"
    kind = kind if reduce is None else KINDS[reduce]
    return _scatter(context.build, kind, x, _along(context.build, x, dim, indices), indices, source)


@aten("scatter_reduce.two")
def scatter_reduce(
    context: Context,
    x: Value,
    dim: int,
    indices: Value,
    source: Value,
    reduce: str,
    *,
    include_self: bool = True,
) -> Value:
    build, places = context.build, _along(context.build, x, dim, indices)
    return _reduce(build, x, places, indices, source, reduce, include_self)


def _reduce(
    build: Builder,
    x: Value,
    places: Value,
    indices: Value,
    source: Value,
    reduce: str,
    include_self: bool,
) -> Value:
    kind = KINDS[reduce]
    if reduce == "mean" and not x.dtype.startswith("float"):
        raise ConditionError(f"with reduce='mean' of {x.dtype}")
    if not include_self:
        floating = x.dtype.startswith("float")
        limits = (-math.inf, math.inf) if floating else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
        start = {"sum": 0, "prod": 1, "max": limits[0], "min": limits[1]}[kind]
        x = _scatter(build, "set", x, places, indices, start)
    result = _scatter(build, kind, x, places, indices, source)
    if reduce != "mean":
        return result
    own = build.constant(np.full(x.shape, 1.0 if include_self else 0.0, x.dtype))
    count = _scatter(build, "sum", own, places, indices, 1)
    return build.map("div", result, build.map("max", count, 1.0))


def _scatter(
    build: Builder, kind: ScatterKind, x: Value, places: Value, indices: Value, source: Operand
) -> Value:
    if isinstance(source, Value):
        for axis, size in enumerate(indices.shape):
            source = build.slice(source, axis, 0, size)
        values = build.cast(source, x.dtype)
    else:
        values = build.constant(np.full(places.shape, source, x.dtype))
    return build.scatter(kind, x, places, values)


def _along(build: Builder, x: Value, dim: int, indices: Value) -> Value:
    """Places in the flattened x of x[…, indices[i…], …]."""
    if not x.shape:
        return build.cast(indices, "int64")
    dim %= len(x.shape)
    grid: list[Value | None] = []
    for axis, size in enumerate(indices.shape):
        shape = [1] * len(indices.shape)
        shape[axis] = size
        grid.append(build.constant(np.arange(size).reshape(shape)))
    grid[dim] = bounded(build, indices, x.shape[dim])
    return address(build, x.shape, grid)


@aten("index_put.default", "_unsafe_index_put.default")
def index_put(
    context: Context, x: Value, indices: Sequence[Value | None], values: Value, accumulate: bool = False
) -> Value:
    build = context.build
    if any(index is not None and index.dtype == "bool" for index in indices):
        raise ConditionError("with indices that are bool")
    chosen = [
        None if index is None else bounded(build, from_end(build, index, size), size)
        for index, size in zip(indices, x.shape, strict=False)
    ]
    places = address(build, x.shape, chosen)
    kind: ScatterKind = "sum" if accumulate else "set"
    return build.scatter(kind, x, places, build.expand(build.cast(values, x.dtype), places.shape))


@aten("index_add.default", "index_copy.default", "index_fill.int_Scalar", "index_reduce.default")
def index_write(
    context: Context, x: Value, dim: int, indices: Value, source: Operand, reduce: str = "", **named: Any
) -> Value:
    build = context.build
    whole = build.reshape(x, x.shape or (1,))
    dim %= len(whole.shape)
    given = build.reshape(indices, (indices.elements,))
    chosen: list[Value | None] = [None] * len(whole.shape)
    chosen[dim] = bounded(build, from_end(build, given, whole.shape[dim]), whole.shape[dim])
    places = address(build, whole.shape, chosen)
    if isinstance(source, Value):
        source = build.expand(build.reshape(source, source.shape or (1,)), places.shape)
    name = context.operator.partition(".")[0]
    if name == "index_reduce":
        assert isinstance(source, Value)
        result = _reduce(build, whole, places, places, source, reduce, named.get("include_self", True))
        return build.reshape(result, x.shape)
    alpha = named.get("alpha", 1)
    if alpha != 1:
        assert isinstance(source, Value)
        source = build.map("mul", source, alpha)
    kind: ScatterKind = "sum" if name == "index_add" else "set"
    return build.reshape(_scatter(build, kind, whole, places, places, source), x.shape)


@aten("put.default")
def put(context: Context, x: Value, indices: Value, source: Value, accumulate: bool = False) -> Value:
    build = context.build
    places = bounded(build, from_end(build, indices, x.elements), x.elements)
    return build.scatter("sum" if accumulate else "set", x, places, build.reshape(source, places.shape))


@aten("select_scatter.default", "slice_scatter.default", "diagonal_scatter.default")
def view_scatter(context: Context, x: Value, source: Value, *where: Any, **named: Any) -> Value:
    """What x is after `view(x) = source`: the view of the numbered places of x says where."""
    places = _viewed(context.operator, np.arange(x.elements).reshape(x.shape), *where, **named)
    values = context.build.cast(source, x.dtype)
    return context.build.scatter("set", x, context.build.constant(places), values)


def _viewed(operator: str, numbers: Array, *where: Any, **named: Any) -> Array:
    match operator.partition("_")[0]:
        case "select":
            return _select(numbers, *where, **named)
        case "slice":
            return _slice(numbers, *where, **named)
    return np.ascontiguousarray(np.diagonal(numbers, *_diagonal(*where, **named)))


def _select(numbers: Array, dim: int, index: int) -> Array:
    return np.take(numbers, index, axis=dim)


def _slice(
    numbers: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    taken = np.arange(numbers.shape[dim])[start:end:step]
    return np.take(numbers, taken, axis=dim)


def _diagonal(offset: int = 0, dim1: int = 0, dim2: int = 1) -> tuple[int, int, int]:
    return offset, dim1, dim2
