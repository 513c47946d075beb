"""Bounds through element-wise expressions, node by node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.bounds.enclosure import (
    SMALLEST,
    Enclosure,
    added,
    broadcast,
    exactly,
    multiplied,
    representable,
    transformed,
)
from grandopt.compiler.bounds.functions import FUNCTIONS
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

COMPARED = {"gt": 1.0, "ge": 1.0, "lt": -1.0, "le": -1.0}
"""Comparisons, as the sign of the difference for which they hold."""

_X, _ZERO, _ONE = (
    Expression("arg", "float32"),
    Expression("const", "float32"),
    Expression("const", "float32", value=1.0),
)
ELU = Expression(
    "where",
    "float32",
    (
        Expression("gt", "bool", (_X, _ZERO)),
        _X,
        Expression("mul", "float32", (Expression("expm1", "float32", (_X,)), _ONE)),
    ),
)
"""As a whole its slope is at most 1; of its branches the one that is not taken may grow beyond all bounds."""


def of_expression(expression: Expression, operands: Sequence[Enclosure]) -> Enclosure:
    """The expression of the operands in float32; raises UnsupportedError with the function's name where it
    has no bound."""
    if expression.op == "arg":
        return operands[int(expression.value)]
    if expression.dtype != "float32":
        raise UnsupportedError(f"{expression.op} of {expression.dtype}")
    if expression.op == "const":
        return exactly(np.asarray(np.float32(expression.value), np.float64))
    if expression.op == "where":
        return _where(expression, operands)
    arguments = [of_expression(part, operands) for part in expression.args]
    result = _applied(expression.op, arguments)
    representable(result.size)
    return result


def _applied(name: str, arguments: Sequence[Enclosure]) -> Enclosure:
    first, last = arguments[0], arguments[-1]
    match name:
        case "add":
            return added(first, last).rounded()
        case "sub":
            return added(first, last, -1.0).rounded()
        case "mul":
            return multiplied(first, last).rounded()
        case "div":
            return multiplied(first, _function("reciprocal", last, rounds=False)).rounded()
        case "max":  # a + (b − a)⁺, which rounds nothing where it is executed
            return added(first, _function("relu", added(last, first, -1.0)))
        case "min":
            return added(first, _function("relu", added(first, last, -1.0)), -1.0)
        case "rsqrt":
            return _function("reciprocal", _function("sqrt", first))
    return _function(name, first)


def _function(name: str, x: Enclosure, *, rounds: bool = True) -> Enclosure:
    function = FUNCTIONS.get(name)
    if function is None:
        raise UnsupportedError(name)
    low, high = x.range()
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = transformed(x, function.value(x.middle), function.slopes(low, high))
    except UnsupportedError as error:
        raise UnsupportedError(f"{name}: {error}") from error
    if not (rounds and function.accuracy):
        return result
    return result.with_rest(function.accuracy * result.size + SMALLEST)


def _where(expression: Expression, operands: Sequence[Enclosure]) -> Enclosure:
    if expression == ELU:
        return _function("elu", operands[0])
    condition, *branches = expression.args
    if condition.op not in COMPARED:
        raise UnsupportedError(f"where({condition.op})")
    left, right = (of_expression(part, operands) for part in condition.args)
    yes, no = (of_expression(part, operands) for part in branches)
    difference, yes, no = broadcast([added(left, right, -1.0), yes, no])
    low, high = difference.range()
    sign = COMPARED[condition.op]
    holds, fails = (low > 0, high < 0) if sign > 0 else (high < 0, low > 0)
    return _chosen(yes, no, holds, fails)


def _chosen(yes: Enclosure, no: Enclosure, holds: Array, fails: Array) -> Enclosure:
    """Element by element the one or the other; where neither is certain, all that lies between both."""
    open_ = ~(holds | fails)
    lows, highs = zip(yes.range(), no.range(), strict=True)
    low, high = np.minimum(*lows), np.maximum(*highs)
    middle, half = (low + high) / 2, (high - low) / 2

    def pick(a: Array, b: Array, undecided: Array) -> Array:
        picked: Array = np.where(open_, undecided, np.where(holds, a, b))
        return picked

    zero = np.zeros(open_.shape)
    return Enclosure(
        pick(yes.middle, no.middle, middle),
        pick(yes.spread, no.spread, half),
        pick(yes.centre, no.centre, zero),
        np.where(open_, 0.0, np.where(holds, yes.symbols, no.symbols)),
        pick(yes.rest, no.rest, 2 * half),
    )
