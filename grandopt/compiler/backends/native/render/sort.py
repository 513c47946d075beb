"""Sorting rows: Shell's method in place, equal elements by their index, so that they stay in order."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.rows import over_rows
from grandopt.compiler.backends.native.render.text import C_TYPES, indent, loop

GAPS = (701, 301, 132, 57, 23, 10, 4, 1)
"""Ciura 2001; larger ones grow by 2.25."""


def sort_loops(descending: bool, x: RenderedOperand, outputs: Sequence[RenderedOperand]) -> list[str]:
    """(values, indices) of every row of x; see `Sort`."""
    size, ctype = x.shape[-1], C_TYPES[x.dtype]
    first, second = ("b", "a") if descending else ("a", "b")
    # NaN is above every number: it comes last, or first.
    ahead = f"({first} < {second} || ({first} == {first} && {second} != {second}))"
    same = "(a == b || (a != a && b != b))"

    def body(pointers: Sequence[str]) -> list[str]:
        source, values, places = pointers
        fill = loop("i", size, [f"{values}[i] = {source}[i], {places}[i] = i;"])
        return [*fill, *(line for gap in _gaps(size) for line in _pass(gap, size, values, places))]

    def _pass(gap: int, size: int, values: str, places: str) -> list[str]:
        return [
            f"for (int i = {gap}; i < {size}; ++i) {{",
            *indent(
                [
                    f"const {ctype} a = {values}[i];",
                    f"const int64_t place = {places}[i];",
                    "int j = i;",
                    f"for (; j >= {gap}; j -= {gap}) {{",
                    f"    const {ctype} b = {values}[j - {gap}];",
                    f"    if (!({ahead} || ({same} && place < {places}[j - {gap}]))) break;",
                    f"    {values}[j] = b, {places}[j] = {places}[j - {gap}];",
                    "}",
                    f"{values}[j] = a, {places}[j] = place;",
                ]
            ),
            "}",
        ]

    return over_rows([x, *outputs], outputs[0].shape[:-1], body)


def _gaps(size: int) -> list[int]:
    gaps = list(GAPS)
    while gaps[0] * 2.25 < size:
        gaps.insert(0, int(gaps[0] * 2.25))
    return [gap for gap in gaps if gap < size]
