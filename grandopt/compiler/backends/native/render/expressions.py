"""Scalar expressions as C statements, over vectors or over scalars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grandopt.compiler.backends.native.expression import Expression, Number
from grandopt.compiler.backends.native.render.text import C_TYPES, literal
from grandopt.compiler.backends.native.scalars import SCALARS


class Statements:
    """Collects one statement per distinct node; equal nodes are computed once.

    `leaves[i]` is the text of operand i, and `prefix` keeps names apart within one block. `text` and `number`
    write scalar nodes and constants, where another C is wanted than that of the generated libraries.
    """

    def __init__(
        self,
        leaves: Sequence[str],
        prefix: str = "t",
        text: Callable[[Expression, list[str]], str] | None = None,
        number: Callable[[Number, str], str] = literal,
    ) -> None:
        self.lines: list[str] = []
        self._text = text or _scalar
        self._number = number
        self._leaves = leaves
        self._prefix = prefix
        self._known: dict[Expression, str] = {}

    def vector(self, expression: Expression) -> str:
        """Name of the vector (or mask) that holds the expression, which must be vectorizable."""
        return self._named(expression, True)

    def scalar(self, expression: Expression) -> str:
        """Name of the scalar that holds the expression."""
        return self._named(expression, False)

    def _named(self, expression: Expression, vector: bool) -> str:
        if expression.op == "arg":
            return self._leaves[int(expression.value)]
        if expression.op == "const":
            text = self._number(expression.value, expression.dtype)
            return f"v_set1({text})" if vector else text
        if expression not in self._known:
            args = [self._named(arg, vector) for arg in expression.args]
            text = _vector(expression, args) if vector else self._text(expression, args)
            name = f"{self._prefix}{len(self._known)}"
            masked = expression.dtype == "bool"
            kind = ("vm" if masked else "vf") if vector else C_TYPES[expression.dtype]
            self.lines.append(f"{kind} {name} = {text};")
            self._known[expression] = name
        return self._known[expression]


def _vector(expression: Expression, args: list[str]) -> str:
    if expression.op == "cast":
        to_float = expression.dtype == "float32"
        return (
            f"v_select({args[0]}, v_set1(1.0f), v_set1(0.0f))"
            if to_float
            else f"v_ne({args[0]}, v_set1(0.0f))"
        )
    if expression.op in ("min", "max") and (text := _limited(expression, args)):
        return text
    vector = SCALARS[expression.op].vector
    assert vector is not None  # `vectorizable` was asked before
    return vector.format(*args)


def _limited(expression: Expression, args: list[str]) -> str | None:
    """min or max with a number that is not NaN: one instruction, which returns its second operand on NaN."""
    for this, other in ((0, 1), (1, 0)):
        limit = expression.args[this]
        if limit.op == "const" and limit.value == limit.value:
            return f"v_{expression.op}_second({args[this]}, {args[other]})"
    return None


def _scalar(expression: Expression, args: list[str]) -> str:
    if expression.op == "cast":
        if expression.dtype == "bool":
            return f"({args[0]} != 0)"
        if expression.args[0].dtype.startswith("float") and not expression.dtype.startswith("float"):
            wide = "s_to_int64" if expression.dtype in ("int64", "uint8") else "s_to_int32"
            return f"({C_TYPES[expression.dtype]}){wide}({args[0]})"
        return f"({C_TYPES[expression.dtype]}){args[0]}"
    source = expression.args[-1].dtype
    return SCALARS[expression.op].scalar.format(*args, f="f" if source == "float32" else "")
