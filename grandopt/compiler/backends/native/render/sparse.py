"""Products of a single row with zeros in it: only the weights of the other inputs are read.

A row's products are bound by reading weights. Those of an input lie together (in panels of columns), so that
half of the inputs being zero halves the time. Sums of floats are in another order than those of `products`.
Weights of reduced precision are stored a second time for it: elsewhere those of several inputs share a word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Linear, QuantizedLinear
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.passes.rectified import FEWEST_WEIGHTS
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.products import EPILOGUE_COST, LONGEST, Extra, finished
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.weights import (
    GRANULE,
    PANEL,
    Precision,
    byte_rows,
    padded,
    panels,
    side_by_side,
)

SLACK = 16
"""Places behind the last that finding zeros may write to."""


def worthwhile(op: Linear, rows: int, around: Surroundings) -> bool:
    """Whether to look for zeros in its row; its weights must be finite, or a zero would count."""
    weight = op.weight.constant
    return (
        rows == 1
        and op in around.rectified
        and weight.size >= FEWEST_WEIGHTS
        and weight.shape[1] <= LONGEST
        and bool(np.isfinite(weight).all())
    )


def worthwhile_codes(op: QuantizedLinear, rows: int, level: IsaLevel, around: Surroundings) -> bool:
    """The same over codes: where bytes can be put together as fast as they come, and panels are filled."""
    count, depth = op.weight.shape
    return (
        rows == 1
        and op.rectified
        and op in around.rectified
        and "avx512_vnni" in level.features
        and count * depth >= FEWEST_WEIGHTS
        and -count % PANEL <= PANEL // 4
        and (op.epilogue is None or op.epilogue.cost <= EPILOGUE_COST)
    )


def sparse_loops(
    op: Linear, x: str, y: str, extras: Sequence[Extra], level: IsaLevel, around: Surroundings
) -> list[str]:
    """y = epilogue(x · weightᵀ + bias, extras…) for one row; `x` and `y` are pointers to it."""
    weight = op.weight.constant
    count, depth = weight.shape
    paired = around.weights.precision(op) == "bfloat16"
    packed = side_by_side(weight) if paired else panels(weight)
    places, numbers = around.workspace.layout((depth + 2 * SLACK) * 4, (depth + 2 * SLACK) * 4)
    ctype = "uint32_t" if paired else "float"
    lines = [
        around.work(),
        f"uint32_t *const places = (uint32_t *)(work + {places});",
        f"float *const numbers = (float *)(work + {numbers});",
        f"const int count = nonzero_numbers({x}, {depth}, places, numbers);",
        f"const {ctype} *const w = (const {ctype} *)({around.weights.pointer(packed)});",
        f"const float *const bias = (const float *)({around.weights.pointer(padded(op.bias.constant))});",
    ]
    precision: Precision = "bfloat16" if paired else "float32"
    return ["{", *indent([*lines, *_panels(op.epilogue, y, extras, (count, depth), level, precision)]), "}"]


def _panels(
    epilogue: Expression | None,
    y: str,
    extras: Sequence[Extra],
    shape: tuple[int, int],
    level: IsaLevel,
    precision: Precision,
) -> list[str]:
    count, depth = shape
    words = 2 if precision == "bfloat16" else 1  # columns to a word

    def panel(number: str, columns: int) -> list[str]:
        width = -(-columns // (GRANULE * words)) * GRANULE
        base = f"w + {number} * {depth * PANEL // words}"
        starts = list(range(0, columns, level.lanes))
        splits = max(1, IN_FLIGHT // len(starts))
        column = f"{number} * {PANEL}"
        lines = [f"vf a{c}_0 = v_load(bias + {column} + {c});" for c in starts]
        lines += [f"vf a{c}_{s} = v_set1(0.0f);" for s in range(1, splits) for c in starts]
        step = []
        for s in range(splits):
            body = [
                f"const vf b = v_set1(numbers[n + {s}]);",
                f"const {'uint32_t' if words == 2 else 'float'} *const from = {base} + "
                f"places[n + {s}] * {width};",
                *(f"a{c}_{s} = v_fma(b, {_weights(c, precision)}, a{c}_{s});" for c in starts),
            ]
            step += ["{", *indent(body), "}"]
        lines += [f"for (int n = 0; n < count; n += {splits}) {{", *indent(step), "}"]
        lines += [f"a{c}_0 += a{c}_{s};" for s in range(1, splits) for c in starts]
        for c in starts:
            cell, width_here = ("0", f"{column} + {c}"), min(level.lanes, columns - c)
            target = f"{y} + {column} + {c}"
            lines += finished(f"a{c}_0", epilogue, extras, cell, target, width_here, level.lanes)
        return ["{", *indent(lines), "}"]

    full, rest = divmod(count, PANEL)
    lines = loop("p", full, panel("p", PANEL)) if full else []
    return lines + (panel(str(full), rest) if rest else [])


def _weights(column: int, precision: Precision) -> str:
    """The vector of an input's weights from a column of the panel on, at `from`."""
    if precision == "float32":
        return f"v_load(from + {column})"
    pair, half = divmod(column, 2 * GRANULE)
    half, within = divmod(half, GRANULE)
    return f"v_bf16_{('even', 'odd')[half]}(from + {pair * GRANULE + within})"


def sparse_code_loops(
    op: QuantizedLinear,
    operands: Sequence[RenderedOperand],
    y: str,
    extras: Sequence[Extra],
    around: Surroundings,
) -> list[str]:
    """The same of the row of `operands`, codes and their scale. Sums are those of all codes, to the bit."""
    codes, scale = operands
    weight = op.weight.constant
    count, depth = weight.shape
    places, found = around.workspace.layout((depth + 2 * SLACK) * 4, depth + 2 * SLACK)
    pointer = around.weights.pointer

    def panel(number: str, columns: int) -> list[str]:
        starts = range(0, PANEL, GRANULE)
        rows = ", ".join(f"from + places[n + {r}] * {PANEL}" for r in range(4))
        step = ["vi words[4];", f"words_of_rows({rows}, words);", "const vi x = vi_four(found + n);"]
        step += [f"a{c} = v_dot4(a{c}, x, words[{v}]);" for v, c in enumerate(starts)]
        lines = [f"const int8_t *const from = w + {number} * {depth * PANEL};"]
        lines += [f"vi a{c} = vi_set1(0);" for c in starts]
        lines += ["for (int n = 0; n < count; n += 4) {", *indent(step), "}"]
        for c in range(0, columns, GRANULE):
            at = f"{number} * {PANEL} + {c}"
            scaled = f"v_from_vi(a{c}) * v_load(weight_scales + {at})"
            lines.append(f"const vf y{c} = v_fma({scaled}, v_set1(*{scale.name}), v_load(bias + {at}));")
            valid = min(GRANULE, columns - c)
            lines += finished(f"y{c}", op.epilogue, extras, ("0", at), f"{y} + {at}", valid, GRANULE)
        return ["{", *indent(lines), "}"]

    full, rest = divmod(count, PANEL)
    body = loop("p", full, panel("p", PANEL)) if full else []
    body += panel(str(full), rest) if rest else []
    head = [
        around.work(),
        f"uint32_t *const places = (uint32_t *)(work + {places});",
        f"uint8_t *const found = work + {found};",
        f"const int count = nonzero_codes({codes.name}, {depth}, places, found);",
        f"const int8_t *const w = (const int8_t *)({pointer(byte_rows(weight))});",
        f"const float *const weight_scales = (const float *)({pointer(padded(op.weight_scales.constant))});",
        f"const float *const bias = (const float *)({pointer(padded(op.bias.constant))});",
    ]
    return ["{", *indent([*head, *body]), "}"]
