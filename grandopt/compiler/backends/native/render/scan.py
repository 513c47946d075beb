"""Running sums, products, extremes: one element after another."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.form import ScanKind
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.rows import over_rows
from grandopt.compiler.backends.native.render.text import C_TYPES, loop

JOINED = "const double low = v < sum ? v : sum, high = v < sum ? sum : v;"
"""Of logcumsumexp: neither is NaN where this is used."""


def scan_loops(kind: ScanKind, x: RenderedOperand, outputs: Sequence[RenderedOperand]) -> list[str]:
    """outputs[0][i] = x[0] ∘ … ∘ x[i]; see `Scan`. Sums and products of floats are kept in float64."""
    ctype = C_TYPES[x.dtype]
    wide = "double" if x.dtype.startswith("float") else "int64_t"

    def extreme(pointers: Sequence[str]) -> list[str]:
        source, values, indices = pointers
        sign = ">=" if kind == "max" else "<="
        turn = [
            f"const {ctype} v = {source}[i];",
            f"TAKE((v != v) | (v {sign} best), best, v, index, i);",  # no number is beyond NaN
            f"{values}[i] = best, {indices}[i] = index;",
        ]
        return [f"{ctype} best = {source}[0];", "int64_t index = 0;", *loop("i", x.shape[-1], turn)]

    def total(pointers: Sequence[str]) -> list[str]:
        source, target = pointers
        match kind:
            case "sum":
                start, update = "0", ["sum += v;"]
            case "prod":
                start, update = "1", ["sum *= v;"]
            case _:
                start, update = "-INFINITY", _joined()
        turn = [f"const {wide} v = {source}[i];", *update, f"{target}[i] = ({ctype})sum;"]
        return [f"{wide} sum = {start};", *loop("i", x.shape[-1], turn)]

    body = extreme if kind in ("max", "min") else total
    return over_rows([x, *outputs], outputs[0].shape[:-1], body)


def _joined() -> list[str]:
    """sum = log(exp(sum) + exp(v)) without overflow; infinities as they are, NaN stays."""
    return [
        "if (v != v || sum != sum) {",
        "    sum = NAN;",
        "} else {",
        f"    {JOINED}",
        "    sum = low == high && isinf(low) ? high : high + log1p(exp(low - high));",
        "}",
    ]
