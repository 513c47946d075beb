"""What the operators of torch that only move numbers become in layers; `operators` has the others."""

from __future__ import annotations

import sys
from typing import Any

from torch.fx import Node

from grandopt.compiler.backends.portable.operators import operator
from grandopt.compiler.backends.portable.translator import Translator, Value, axis_of
from grandopt.errors import UnsupportedError


@operator(
    "view.default", "_unsafe_view.default", "reshape.default", "squeeze.dims", "squeeze.dim",
    "unsqueeze.default",
)  # fmt: skip
def _reshape(to: Translator, node: Node, given: list[Any]) -> Value:
    shape = to.shape(node)
    return given[0] if shape == to.given_shape(node) else to.define("reshape", given[:1], shape)


@operator("permute.default")
def _permute(to: Translator, node: Node, given: list[Any]) -> Value:
    order = [axis_of(axis, len(given[1])) for axis in given[1]]
    return to.define("transpose", given[:1], to.shape(node), order=order)


@operator("expand.default")
def _expand(to: Translator, node: Node, given: list[Any]) -> Value:
    shape, before = to.shape(node), to.given_shape(node)
    if shape == before:
        return given[0]
    full = (*(1 for _ in range(len(shape) - len(before))), *before)
    value = given[0] if full == before else to.define("reshape", given[:1], full)
    return to.define("broadcast", [value], shape)


@operator("full.default", "full_like.default")
def _full(to: Translator, node: Node, given: list[Any]) -> Value:
    return to.define("full", [], to.shape(node), value=float(given[1]))


@operator("cat.default")
def _cat(to: Translator, node: Node, given: list[Any]) -> Value:
    shape = to.shape(node)
    return to.define("concat", given[0], shape, axis=axis_of([*given, 0][1], len(shape)))


@operator("slice.Tensor")
def _slice(to: Translator, node: Node, given: list[Any]) -> Value:
    defaults: list[Any] = [None, 0, 0, sys.maxsize, 1]
    value, axis, start, stop, step = given + defaults[len(given) :]
    shape = to.given_shape(node)
    size = shape[axis]
    if shape == to.shape(node):
        return value
    if step != 1 or size < 0:
        raise UnsupportedError("steps, and slices of the batch, are not covered")
    first, last = (min(max(axis_of(limit, size), 0), size) for limit in (start or 0, min(stop, size)))
    return to.define("slice", [value], to.shape(node), axis=axis_of(axis, len(shape)), start=first, stop=last)


@operator("select.int")
def _select(to: Translator, node: Node, given: list[Any]) -> Value:
    value, axis, index = given
    shape = to.given_shape(node)
    axis, size = axis_of(axis, len(shape)), shape[axis]
    if size < 0:
        raise UnsupportedError("one row of the batch is not covered")
    start = axis_of(index, size)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    cut = to.define("slice", [value], one, axis=axis, start=start, stop=start + 1)
    return to.define("reshape", [cut], to.shape(node))


@operator("split_with_sizes.default")
def _split(to: Translator, node: Node, given: list[Any]) -> Value:
    value, widths = given[:2]
    shape = to.given_shape(node)
    axis = axis_of([*given, 0][2] if len(given) > 2 else 0, len(shape))
    parts, start = [], 0
    for width in widths:
        if not isinstance(width, int):
            raise UnsupportedError("parts of the batch are not covered")
        part = (*shape[:axis], width, *shape[axis + 1 :])
        parts.append(to.define("slice", [value], part, axis=axis, start=start, stop=start + width))
        start += width
    return parts


@operator("flip.default")
def _flip(to: Translator, node: Node, given: list[Any]) -> Value:
    value, shape = given[0], to.shape(node)
    for axis in given[1]:
        value = to.define("reverse", [value], shape, axis=axis_of(axis, len(shape)))
    return value


@operator("constant_pad_nd.default")
def _pad(to: Translator, node: Node, given: list[Any]) -> Value:
    value, amounts = given[:2]
    rank = len(to.shape(node))
    if any(not isinstance(amount, int) or amount < 0 for amount in amounts):
        raise UnsupportedError("padding that cuts is not covered")
    pairs = [*zip(amounts[::2], amounts[1::2], strict=True)]
    pairs = [*reversed(pairs + [(0, 0)] * (rank - len(pairs)))]
    filled = float([*given, 0.0][2]) if len(given) > 2 else 0.0
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    return to.define("pad", [value], to.shape(node), before=before, after=after, value=filled)
