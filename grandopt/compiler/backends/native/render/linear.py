"""Products with constant weights: packed panels, or dot products where there are few outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from grandopt.compiler.backends.native.form import Linear
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render import sparse, tiles
from grandopt.compiler.backends.native.render.blocks import blocking, row_blocks, widths_of
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.products import Extra, Product
from grandopt.compiler.backends.native.render.text import indent, loop, offset
from grandopt.compiler.backends.native.render.weights import (
    GRANULE,
    PANEL,
    Weights,
    padded,
    pairs_pay,
    panels,
)
from grandopt.compiler.backends.native.strides import collapse
from grandopt.signature import Array

FEW_OUTPUTS = 8
LONG_ROW, LONGER = 48, 8
"""With at most FEW_OUTPUTS outputs, all in one vector, of at least LONG_ROW inputs, and LONGER for each
output, lanes run along the inputs instead."""


def linear_loops(
    op: Linear,
    x: RenderedOperand,
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    level: IsaLevel,
    around: Surroundings,
) -> list[str]:
    """output[row] = epilogue(x[row] · weightᵀ + bias, extras[row]…) over all rows."""
    operands = [x, output, *extras]
    lead = output.shape[:-1]
    sizes, strides = collapse(lead, [operand.spread((*lead, operand.shape[-1]))[:-1] for operand in operands])
    rows = sizes[-1] if sizes else 1
    step = [s[-1] if s else 0 for s in strides]
    named = [
        f"({operand.name} + {offset([(f'i{axis}', s[axis]) for axis in range(len(sizes) - 1)])})"
        for operand, s in zip(operands, strides, strict=True)
    ]
    parts = [
        Extra(pointer, row, operand.spread(output.shape)[-1])
        for pointer, row, operand in zip(named[2:], step[2:], extras, strict=True)
    ]
    weight, bias = op.weight.constant, op.bias.constant
    pointers = (named[0], step[0]), (named[1], step[1])
    if tiles.worthwhile(level, around.weights.precision(op), rows, *weight.shape):
        work = around.weights, around.workspace
        body = [around.work(), *tiles.tile_loops(op, (weight, bias), *pointers, parts, rows, *work)]
    else:
        if _few_outputs(weight.shape[0], weight.shape[1], level):
            body = _dots(op, (weight, bias), *pointers, parts, rows, level, around.weights)
        elif sparse.worthwhile(op, rows, around):
            body = sparse.sparse_loops(op, pointers[0][0], pointers[1][0], parts, level, around)
        else:
            body = _panels(op, (weight, bias), *pointers, parts, rows, level, around)
    for axis in reversed(range(len(sizes) - 1)):
        body = loop(f"i{axis}", sizes[axis], body)
    return body


def _few_outputs(count: int, depth: int, level: IsaLevel) -> bool:
    return count <= min(FEW_OUTPUTS, level.lanes) and depth >= max(LONG_ROW, LONGER * count)


def _panels(
    op: Linear,
    constants: tuple[Array, Array],
    x: tuple[str, int],
    y: tuple[str, int],
    extras: Sequence[Extra],
    rows: int,
    level: IsaLevel,
    around: Surroundings,
) -> list[str]:
    weights = around.weights
    weight, bias = constants
    count, depth = weight.shape
    paired = weights.precision(op) == "bfloat16"
    rounded = paired and level.pairs and pairs_pay(count, depth)
    ctype, words = ("uint32_t", -(-depth // 2)) if paired else ("float", depth)
    packed = panels(weight, weights.precision(op))
    lines = [
        f"const {ctype} *const w = (const {ctype} *)({weights.pointer(packed)});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias))});",
    ]
    if rounded:
        # A row is padded to what one store of the widest level fills.
        stride = -(-words // GRANULE) * GRANULE
        (place,) = around.workspace.layout(rows * stride * 4)
        rounding = f"pairs_of_row(pairs + row * {stride}, {x[0]} + row * {x[1]}, {depth});"
        lines += [
            around.work(),
            f"uint32_t *const pairs = (uint32_t *)(work + {place});",
            *loop("row", rows, [rounding]),
        ]

    def left(row: str, k: str) -> str:
        return f"pairs[{row} * {stride} + {k}]" if rounded else f"{x[0]}[{row} * {x[1]} + {k}]"

    fetch = panel_fetch(weights, packed, -(-count // PANEL), rows, words)

    def panel(number: str, width: int, columns: int) -> list[str]:
        """The panel of that number, of `width` stored and `columns` valid columns."""
        base, column = f"w + {number} * {words * PANEL}", f"{number} * {PANEL}"
        product = Product(
            depth,
            level,
            left=left,
            right=lambda k, inside: f"{base} + ({k}) * {width} + {inside}",
            start=lambda inside: f"v_load(bias + {column} + {inside})",
            output=lambda row, inside: f"{y[0]} + {row} * {y[1]} + {column} + {inside}",
            epilogue=op.epilogue,
            paired=paired,
            rounded=rounded,
            fetch=None if fetch is None else partial(fetch, number),
            extras=[Extra(e.pointer + (f" + {column}" if e.column else ""), e.row, e.column) for e in extras],
        )
        return _columns(product, rows, widths_of(columns, level.lanes))

    full = count // PANEL
    if full:
        lines += loop("p", full, panel("p", PANEL, PANEL))
    rest = count % PANEL
    if rest:
        width = -(-rest // GRANULE) * GRANULE
        lines += panel(str(full), width, rest)
    return ["{", *indent(lines), "}"]


def panel_fetch(
    weights: Weights, packed: Array, panels: int, rows: int, depth: int
) -> Callable[[str, str, int, str], str] | None:
    """Statements that ask for coming weights, a little in every step of every block; None where none is due.

    `packed` is so many panels of `depth` steps, all of which each row uses. The function is given the number
    of the panel, and what `Fetch` is given.
    """
    if rows == 1:  # bound by reading: the processor's own prefetching does it
        return None
    start, count = weights.ahead(packed, packed.nbytes // panels, rows * packed.size)
    step = count // (panels * rows * depth)  # bytes per row and step
    if step == 0:
        return None

    def fetch(panel: str, row: str, block: int, k: str) -> str:
        place = f"(({panel} * {rows} + {row}) * {depth} + {k} * {block}) * {step}"
        return f"__builtin_prefetch({start} + {place}, 0, 2);"

    return fetch


def _columns(product: Product, rows: int, widths: list[int]) -> list[str]:
    """All rows of one panel, as many vectors at a time as the registers hold."""
    widened = product.paired and not product.rounded
    most_rows, most_vectors = blocking(rows, product.level, widened)
    lines: list[str] = []
    for first in range(0, len(widths), most_vectors):
        column = str(first * product.level.lanes)
        part = widths[first : first + most_vectors]
        lines += row_blocks(rows, most_rows, _block(product, column, part))
    return lines


def _block(product: Product, column: str, widths: Sequence[int]) -> Callable[[int, str], list[str]]:
    return lambda rows, row: product.block(rows, row, column, widths)


def _dots(
    op: Linear,
    constants: tuple[Array, Array],
    x: tuple[str, int],
    y: tuple[str, int],
    extras: Sequence[Extra],
    rows: int,
    level: IsaLevel,
    weights: Weights,
) -> list[str]:
    """Each output as a dot product along the inputs, its lanes summed at the end."""
    weight, bias = constants
    count, depth = weight.shape
    lanes = level.lanes
    stored = np.pad(weight, ((0, 0), (0, -depth % GRANULE)))
    whole = depth - depth % lanes
    splits = 2 if whole >= 4 * lanes and count <= 2 else 1

    def step(k: str, split: int, valid: int) -> list[str]:
        source = f"{x[0]} + row * {x[1]} + {k}"
        load = f"v_load({source})" if valid == lanes else f"v_load_n({source}, {valid})"
        products = [
            f"s{n}_{split} = v_fma(v, v_load(w + {n * stored.shape[1]} + {k}), s{n}_{split});"
            for n in range(count)
        ]
        return ["{", *indent([f"const vf v = {load};", *products]), "}"]

    block = lanes * splits
    body = [f"vf s{n}_{s} = v_set1(0.0f);" for n in range(count) for s in range(splits)]
    paired = whole - whole % block
    body += loop(
        "k", paired, [line for s in range(splits) for line in step(f"k + {s * lanes}", s, lanes)], block
    )
    for k in range(paired, depth, lanes):
        body += step(str(k), 0, min(lanes, depth - k))
    totals = [" + ".join(f"s{n}_{s}" for s in range(splits)) for n in range(count)]
    sums = ", ".join(f"v_sum({total})" for total in totals)
    body.append(f"const vf total = (vf){{{sums}}} + v_load(bias);")
    leaves = ["total"]
    for i, extra in enumerate(extras):
        pointer = f"{extra.pointer} + row * {extra.row}"
        text = f"v_load_n({pointer}, {count})" if extra.column else f"v_set1(*({pointer}))"
        body.append(f"const vf e{i} = {text};")
        leaves.append(f"e{i}")
    statements = Statements(leaves)
    result = "total" if op.epilogue is None else statements.vector(op.epilogue)
    body += [*statements.lines, store(f"{y[0]} + row * {y[1]}", result, count, lanes)]
    lines = [
        f"const float *const w = (const float *)({weights.pointer(stored)});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias, GRANULE))});",
        *loop("row", rows, body),
    ]
    return ["{", *indent(lines), "}"]
