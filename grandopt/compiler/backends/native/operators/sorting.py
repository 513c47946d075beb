"""Sorting, and what is read off a sorted row."""

from __future__ import annotations

from typing import Any

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


def _sorted(build: Builder, x: Value, dim: int, descending: bool) -> tuple[Value, Value]:
    """Values and indices, sorted along the last axis, to which `dim` is moved."""
    last = build.swap(x, dim, -1) if x.shape else build.reshape(x, (1,))
    return build.sort(last, descending)


def _back(build: Builder, x: Value, value: Value, dim: int) -> Value:
    return build.swap(value, dim, -1) if x.shape else build.reshape(value, ())


@aten("sort.default", "argsort.default", "msort.default")
def sort(context: Context, x: Value, dim: int = -1, descending: bool = False) -> Value | tuple[Value, ...]:
    _check_indices(context)
    return _sort(context, x, dim, descending)


@aten("sort.stable", "argsort.stable")
def stable_sort(
    context: Context, x: Value, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Value | tuple[Value, ...]:
    if not stable:
        _check_indices(context)
    return _sort(context, x, dim, descending)


def _sort(context: Context, x: Value, dim: int, descending: bool) -> Value | tuple[Value, ...]:
    build = context.build
    dim = 0 if context.operator.startswith("msort") else dim
    values, indices = (_back(build, x, v, dim) for v in _sorted(build, x, dim, descending))
    if context.operator.startswith("msort"):
        return values
    return indices if context.operator.startswith("argsort") else (values, indices)


@aten("topk.default")
def topk(
    context: Context, x: Value, k: int, dim: int = -1, largest: bool = True, sorted_: bool = True, **_: Any
) -> tuple[Value, ...]:
    build = context.build
    _check_indices(context)
    found = (build.slice(v, -1, 0, k) for v in _sorted(build, x, dim, largest))
    return tuple(_back(build, x, value, dim) for value in found)


def _check_indices(context: Context) -> None:
    """Those of equal elements come in an order that follows from nothing but ATen's way to sort."""
    if 1 in context.returned:
        raise ConditionError("with its indices as an output, which ATen leaves open among equal elements,")


@aten("kthvalue.default")
def kthvalue(context: Context, x: Value, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Value, ...]:
    build = context.build
    _check_indices(context)
    found = (build.slice(v, -1, k - 1, 1) for v in _sorted(build, x, dim, False))
    return tuple(_kept(build, x, value, dim, keepdim) for value in found)


def _kept(build: Builder, x: Value, value: Value, dim: int, keepdim: bool) -> Value:
    """[..., 1] with that axis where it was, or without it."""
    back = _back(build, x, value, dim)
    return back if keepdim or not x.shape else build.drop(back, dim)


@aten("median.dim", "nanmedian.dim")
def median(context: Context, x: Value, dim: int = -1, keepdim: bool = False) -> tuple[Value, ...]:
    _check_indices(context)
    found = _median(context.build, x, dim, context.operator.startswith("nan"))
    return tuple(_kept(context.build, x, value, dim, keepdim) for value in found)


@aten("median.default", "nanmedian.default")
def median_of_all(context: Context, x: Value) -> Value:
    build = context.build
    flat = build.reshape(x, (x.elements,))
    return build.reshape(_median(build, flat, 0, context.operator.startswith("nan"))[0], ())


def _median(build: Builder, x: Value, dim: int, ignore_nan: bool) -> tuple[Value, Value]:
    """The lower median and its index [..., 1]; the first NaN where there is one, unless these are ignored."""
    values, indices = _sorted(build, x, dim, False)
    size = values.shape[-1]
    middle = [build.slice(v, -1, (size - 1) // 2, 1) for v in (values, indices)]
    if not x.dtype.startswith("float"):
        return middle[0], middle[1]
    number = build.map("eq", values, values)
    axis = len(values.shape) - 1
    if ignore_nan:
        count = build.reduce("sum", build.cast(number, "int64"), [axis], True)
        place = build.map("max", build.map("sub", count, 1), 0)
        place = build.map("ifloordiv", place, 2)
        return _at(build, values, place), _at(build, indices, place)
    clean = build.reduce("all", number, [axis], True)
    last = build.slice(values, -1, size - 1, 1)  # NaN, where there is one
    # The NaNs are sorted to the end, the first of them ahead: behind all numbers.
    count = build.reduce("sum", build.cast(number, "int64"), [axis], True)
    first = _at(build, indices, build.map("min", count, size - 1))
    return (
        build.map("where", clean, middle[0], last, dtype=x.dtype),
        build.map("where", clean, middle[1], first, dtype="int64"),
    )


def _at(build: Builder, rows: Value, place: Value) -> Value:
    """rows[..., place], one computed place per row: [..., 1]."""
    starts = np.arange(place.elements, dtype=np.int64).reshape(place.shape) * rows.shape[-1]
    where = build.map("add", place, build.constant(starts))
    return build.gather(build.reshape(rows, (rows.elements,)), where)


@aten("searchsorted.Tensor", "searchsorted.Scalar", "bucketize.Tensor", "bucketize.Scalar")
def searchsorted(context: Context, x: Value, other: Value, *_: Any, **named: Any) -> Value:
    """How many of the sorted elements lie before each value: those below it, with `right` also equal ones."""
    build = context.build
    bucketize = context.operator.startswith("bucketize")
    edges, values = (other, x) if bucketize else (x, other)
    right = bool(named.get("right", False)) or named.get("side") == "right"
    if len(edges.shape) == 1 and len(values.shape) != 1:
        rows = edges
    else:
        rows = build.reshape(edges, (*edges.shape[:-1], 1, edges.shape[-1]))
    column = build.reshape(values, (*values.shape, 1))
    dtype = str(np.promote_types(edges.dtype, values.dtype))
    beyond = build.map("gt" if right else "ge", rows, column, dtype=dtype)
    before = build.cast(build.map("not", beyond), context.dtype)
    return build.reduce("sum", before, [len(before.shape) - 1], False)
