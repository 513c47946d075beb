"""Attention as one op of the form: a soft maximum of products, and the product with it."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.operation import Op, Operand, Operands


@dataclass(frozen=True, eq=False)
class Attention(Op):
    """query [..., M, K], keys [..., K, N], values [..., N, C], extras… → [..., M, C]; leading axes broadcast.

    output = softmax(scores) · values, where scores = epilogue(query · keys, extras…), the extras broadcast to
    them. With `admitted`, a row whose scores are all -inf gives zeros, not NaN. With `rounded`, levels that
    multiply pairs of bfloat16 numbers round what is multiplied.
    """

    query = Operand(0)
    keys = Operand(1)
    values = Operand(2)
    extras = Operands(3)

    epilogue: Expression | None = None
    admitted: bool = False
    rounded: bool = False
