"""Scalar expression trees: what an element-wise op computes for one element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.scalars import SCALARS

Number = int | float | bool


@dataclass(frozen=True)
class Expression:
    """One node: `op` is "arg" (operand number `value`), "const" (the number `value`), "cast" or a name in
    SCALARS. `dtype` is that of its result, as a NumPy name.
    """

    op: str
    dtype: str
    args: tuple[Expression, ...] = ()
    value: Number = 0

    @property
    def cost(self) -> int:
        """Number of nodes, constants and operands aside."""
        return (self.op not in ("arg", "const")) + sum(arg.cost for arg in self.args)

    @property
    def vectorizable(self) -> bool:
        """Whether every node has a C text over float32 vectors; masks are then its only other values."""
        if self.op in ("arg", "const"):
            return self.dtype == "float32"
        if self.dtype not in ("float32", "bool") or not all(arg.vectorizable for arg in self.args):
            return False
        if self.op == "cast":
            return True
        function = SCALARS[self.op]
        masks = {"where": ("bool", "float32", "float32")}.get(
            self.op, ("bool" if function.kind == "logic" else "float32",) * function.arity
        )
        return function.vector is not None and tuple(arg.dtype for arg in self.args) == masks

    def operands(self) -> set[int]:
        """Numbers of the operands that the expression reads."""
        if self.op == "arg":
            return {int(self.value)}
        return set().union(*(arg.operands() for arg in self.args))

    def functions(self) -> set[str]:
        """Names of the scalar functions in it."""
        own = set() if self.op in ("arg", "const", "cast") else {self.op}
        return own.union(*(arg.functions() for arg in self.args))

    def substitute(self, replacements: Sequence[Expression]) -> Expression:
        """The expression with operand i replaced by `replacements[i]`."""
        if self.op == "arg":
            return replacements[int(self.value)]
        if not self.args:
            return self
        return Expression(
            self.op, self.dtype, tuple(arg.substitute(replacements) for arg in self.args), self.value
        )


def arg(index: int, dtype: str) -> Expression:
    """Operand number `index`."""
    return Expression("arg", dtype, value=index)


def const(value: Number, dtype: str) -> Expression:
    """A number; NaN and the infinities are allowed."""
    return Expression("const", dtype, value=_as_dtype(value, dtype))


def cast(expression: Expression, dtype: str) -> Expression:
    """The expression converted to `dtype` by the rules of C (float to int truncates)."""
    if expression.dtype == dtype:
        return expression
    if expression.op == "const":
        return const(expression.value, dtype)
    return Expression("cast", dtype, (expression,))


def apply(name: str, *args: Expression) -> Expression:
    """The scalar function `name` of `args`, which must agree in dtype (the condition of "where" aside)."""
    function = SCALARS[name]
    if len(args) != function.arity:
        raise ValueError(f"{name} takes {function.arity} argument(s), got {len(args)}")
    boolean = function.kind == "compare" or (function.kind == "logic" and args[0].dtype == "bool")
    dtype = "bool" if boolean or name == "not" else args[-1].dtype
    return Expression(name, dtype, args)


def _as_dtype(value: Number, dtype: str) -> Number:
    if dtype == "bool":
        return bool(value)
    # A whole number is cut to its width, as ATen does: C would compute `x % -3` in int for an x of uint8.
    return float(value) if dtype.startswith("float") else int(np.array(int(value), np.int64).astype(dtype))
