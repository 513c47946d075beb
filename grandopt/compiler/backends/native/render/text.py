"""Pieces of C text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grandopt.compiler.backends.native.expression import Number

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}


def literal(value: Number, dtype: str) -> str:
    """A number as a C constant of the dtype; floats in hexadecimal, so that no digit is lost."""
    if not dtype.startswith("float"):
        return f"INT64_C({int(value)})" if dtype == "int64" else str(int(value))
    value = float(value)
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    suffix = "f" if dtype == "float32" else ""
    text = repr(value)
    return f"{text}{suffix}" if len(text) <= 8 else f"{value.hex()}{suffix}"


def indent(lines: Sequence[str]) -> list[str]:
    """One step to the right."""
    return [f"    {line}" for line in lines]


def loop(variable: str, size: int, body: Sequence[str], step: int = 1) -> list[str]:
    """`for` from 0 to `size`, or the body once with the variable 0 when there is one turn."""
    if size <= step:
        return ["{", f"    enum {{ {variable} = 0 }};", *indent(body), "}"]
    return turns_between(variable, "0", str(size), body, step)


def turns_between(variable: str, first: str, last: str, body: Sequence[str], step: int = 1) -> list[str]:
    """`for` from `first` to before `last`, which are texts."""
    move = f"++{variable}" if step == 1 else f"{variable} += {step}"
    return [f"for (int {variable} = {first}; {variable} < {last}; {move}) {{", *indent(body), "}"]


def offset(terms: Sequence[tuple[str, int]]) -> str:
    """A sum of variable · stride as text, "0" if it is empty."""
    parts = [variable if stride == 1 else f"{variable} * {stride}" for variable, stride in terms if stride]
    return " + ".join(parts) or "0"
