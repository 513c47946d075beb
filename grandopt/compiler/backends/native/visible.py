"""Which scores of an attention can weigh anything, as far as its constants tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.evaluate import FUNCTIONS, of_expression
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Attention
from grandopt.signature import Array

LARGEST = (1e30, 1e6)
"""Magnitudes of products up to which a mask is looked at: one of -inf hides any, one of -1e9 those that are
not as large."""
NOTHING = 110.0
"""So far below the largest score of its row a weight is 0 in float32."""

Range = tuple[Array, Array]
"""The least and the largest value of each element."""


@dataclass(frozen=True)
class Visible:
    """`seen` [M, N] tells for each row of the query which keys may weigh something, and for the others that
    their weight is 0, as long as no element of query and keys is beyond ±`bound` or NaN."""

    seen: Array
    bound: float


def visible(op: Attention) -> Visible | None:
    """What can be seen; None where that is everything, or is not known."""
    if op.epilogue is None or any(value.data is None for value in op.extras):
        return None
    shape = (*op.output.shape[:-1], op.keys.shape[-1])
    extras = [np.asarray(value.constant, np.float64) for value in op.extras]
    for largest in LARGEST:
        with np.errstate(all="ignore"):
            low, high = _range(op.epilogue, (np.array(-largest), np.array(largest)), extras)
            low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
            hidden = (high == -np.inf) | (high <= low.max(-1, keepdims=True) - NOTHING)
        seen = ~hidden.reshape(-1, *shape[-2:]).all(0)
        if not seen.all():
            return Visible(seen, math.sqrt(largest / op.keys.shape[-2]))
    return None


def _range(node: Expression, score: Range, extras: list[Array]) -> Range:
    """Of the expression, for scores within `score`."""
    if 0 not in node.operands():
        known = of_expression(node, [score[0], *extras])
        return _anything() if known is None else (known, known)
    if node.op == "arg":
        return score
    if node.op == "where" and 0 not in node.args[0].operands():
        condition = of_expression(node.args[0], [score[0], *extras])
        if condition is None:
            return _anything()
        chosen, other = (_range(arg, score, extras) for arg in node.args[1:])
        return np.where(condition, chosen[0], other[0]), np.where(condition, chosen[1], other[1])
    if node.op in ("add", "sub", "mul", "div", "min", "max", "neg"):
        return _corners(node.op, [_range(arg, score, extras) for arg in node.args])
    return _anything()


def _corners(name: str, ranges: list[Range]) -> Range:
    """Of a function that is monotonic in each argument."""
    if name == "div" and not ((ranges[1][0] > 0) | (ranges[1][1] < 0)).all():
        return _anything()
    first, *others = ranges
    pairs = [(a, b) for a in first for b in others[0]] if others else [(a,) for a in first]
    values = np.broadcast_arrays(*(FUNCTIONS[name](*pair) for pair in pairs))
    unknown = np.isnan(values).any(0)
    low, high = np.min(values, 0), np.max(values, 0)
    return np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)


def _anything() -> Range:
    return np.array(-np.inf), np.array(np.inf)
