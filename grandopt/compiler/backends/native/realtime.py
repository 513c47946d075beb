"""What a graph must not have for its code to be free of branches that depend on numbers.

The code of most ops is free of them by itself, or with the masks of `render/choice.h`. What is left is
refused by name: C's mathematical functions choose their way by the number that they get, and sorting by what
it finds.
"""

from __future__ import annotations

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Graph, Map, Op, Scan, Sort, WithEpilogue
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.scalars import SCALARS
from grandopt.errors import UnsupportedError

STRAIGHT = frozenset({
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "rsqrt", "reciprocal", "square", "relu", "min", "max",
    "floor", "ceil", "round", "trunc", "copysign", "signbit", "ifmod", "imod", "ifloordiv", "shl", "shr",
    "bitnot", "sign", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "where",
})  # fmt: skip
"""Functions without a branch, of every dtype. The others with a vector form have none of float32."""


def refuse_branches(graph: Graph, level: IsaLevel) -> None:
    """Raise UnsupportedError, with the op, where the graph cannot be computed at the level without a branch,
    or a trap into the system, that depends on numbers."""
    if level.tiles:
        raise UnsupportedError(
            f"{graph.name}: not under the real-time contract at {level.name}: the system gives a thread its "
            f"tiles at their first use, in the middle of a call"
        )
    for op in graph.ops:
        found = _branching(op)
        if found is not None:
            raise UnsupportedError(f"{graph.name}: not under the real-time contract: {found}")


def _branching(op: Op) -> str | None:
    """What of an op branches on numbers."""
    match op:
        case Sort():
            return "sorting (sort, topk, median) takes as long as its numbers are out of order"
        case Scan(kind="logsumexp"):
            return "logcumsumexp calls the C library, whose code branches on numbers"
    expression = op.expression if isinstance(op, Map) else None
    if isinstance(op, WithEpilogue):
        expression = op.epilogue
    name = None if expression is None else _branching_function(expression)
    return None if name is None else f"{name} is a function of the C library, whose code branches on numbers"


def _branching_function(expression: Expression) -> str | None:
    """The first function in it that has no code without branches, with its dtype where that is why."""
    for arg in expression.args:
        if (found := _branching_function(arg)) is not None:
            return found
    name = expression.op
    if name in ("arg", "const", "cast") or name in STRAIGHT:
        return None
    if SCALARS[name].vector is None:
        return name
    dtype = expression.args[0].dtype
    return None if dtype == "float32" else f"{name} of {dtype}"
