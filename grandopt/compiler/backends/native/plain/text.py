"""Numbers, expressions and loops as plain C."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.expression import Expression, Number
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.text import C_TYPES, indent
from grandopt.compiler.backends.native.scalars import SCALARS
from grandopt.compiler.backends.native.strides import Shape, broadcast
from grandopt.errors import UnsupportedError

OWN = {"sin": "v_sin({0})", "cos": "v_cos({0})"}
"""Functions of `scalar.h` that have no form over vectors."""
WHOLE = {
    "min": "({0} < {1} ? {0} : {1})",
    "max": "({0} > {1} ? {0} : {1})",
    "abs": "({0} < 0 ? 0 - {0} : {0})",
    "relu": "({0} < 0 ? 0 : {0})",
}
"""Functions of whole numbers, which are never NaN."""
DOUBLE = {
    "min": "({0} < {1} || {0} != {0} ? {0} : {1})",
    "max": "({0} > {1} || {0} != {0} ? {0} : {1})",
    "abs": "({0} <= 0.0 ? 0.0 - {0} : {0})",
    "relu": "({0} < 0.0 ? 0.0 : {0})",
}
"""Functions of float64, in which statistics of observations are applied; NaN comes through."""


@dataclass(frozen=True)
class PlainOperand:
    """The C text of a pointer, with the shape and the strides behind it, in elements."""

    base: str
    dtype: str
    shape: Shape
    strides: Shape

    def spread(self, shape: Shape) -> PlainOperand:
        """The operand broadcast to `shape`."""
        return PlainOperand(self.base, self.dtype, shape, broadcast(self.shape, self.strides, shape))

    def at(self, indices: Sequence[str]) -> str:
        """The element at these indices, of as many axes as the operand has."""
        return f"{self.base}[{self.offset(indices)}]"

    def row(self, indices: Sequence[str]) -> str:
        """The pointer to where the axes behind `indices` begin."""
        moved = self.offset(indices)
        return self.base if moved == "0" else f"({self.base} + {moved})"

    def offset(self, indices: Sequence[str]) -> str:
        """The place of an element behind the pointer."""
        parts = [
            index if stride == 1 else f"{index} * {stride}"
            for index, stride in zip(indices, self.strides, strict=False)
            if stride and index != "0"
        ]
        return " + ".join(parts) or "0"


def number(value: Number, dtype: str) -> str:
    """A number as a constant of plain C, which every digit of it comes back from."""
    if not dtype.startswith("float"):
        return whole(int(value), dtype)
    value = float(value)
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = str(np.float32(value)) if dtype == "float32" else repr(value)
    text = text if any(sign in text for sign in ".e") else f"{text}.0"
    return f"{text}f" if dtype == "float32" else text


def whole(value: int, dtype: str) -> str:
    """A whole number as a constant; the smallest ones have no sign of their own in C."""
    if dtype != "int64":
        return str(value) if value != -(2**31) else "INT32_MIN"
    return f"INT64_C({value})" if value != -(2**63) else "INT64_MIN"


def statements(expression: Expression, leaves: Sequence[str]) -> tuple[list[str], str]:
    """The statements that compute an expression of the texts `leaves`, and the text of its result.

    Raises UnsupportedError, naming the function, for one that plain C has not.
    """
    written = Statements(leaves, text=_text, number=number)
    result = written.scalar(expression)
    return written.lines, result


def _text(expression: Expression, args: list[str]) -> str:
    source = expression.args[-1].dtype
    if expression.op == "cast":
        if expression.dtype == "bool":
            return f"({args[0]} != 0)"
        if source == "float64" and not expression.dtype.startswith("float"):
            raise UnsupportedError(f"{expression.dtype} of float64 is not written in plain C")
        if source == "float32" and not expression.dtype.startswith("float"):
            wide = "v_to_int64" if expression.dtype in ("int64", "uint8") else "v_to_int32"
            return f"({C_TYPES[expression.dtype]}){wide}({args[0]})"
        return f"({C_TYPES[expression.dtype]}){args[0]}"
    function = SCALARS[expression.op]
    if expression.op in OWN and source == "float32":
        return OWN[expression.op].format(*args)
    if expression.op in DOUBLE and source == "float64":
        return DOUBLE[expression.op].format(*args)
    if expression.op in WHOLE and not source.startswith("float"):
        return WHOLE[expression.op].format(*args)
    if expression.op == "where":
        return "({} ? {} : {})".format(*args)
    if re.fullmatch(r"[^a-zA-Z]*", function.scalar):  # signs alone
        return function.scalar.format(*args)
    if function.vector is None or source != "float32":
        raise UnsupportedError(f"{expression.op} of {source} is not written in plain C")
    return function.vector.replace("v_set1(1.0f)", "1.0f").format(*args)


def over(
    shape: Sequence[int], body: Callable[[list[str]], list[str]], prefix: str = "i", start: int = 0
) -> list[str]:
    """Loops over all axes of `shape` around what `body` makes of the indices; none for an axis of size 1."""
    indices = [f"{prefix}{start + axis}" if size > 1 else "0" for axis, size in enumerate(shape)]
    lines = body(indices)
    for index, size in reversed(list(zip(indices, shape, strict=True))):
        if size > 1:
            lines = [f"for (int32_t {index} = 0; {index} < {size}; ++{index}) {{", *indent(lines), "}"]
    return lines


def block(lines: Sequence[str]) -> list[str]:
    """The lines with names of their own."""
    return ["{", *indent(lines), "}"]
