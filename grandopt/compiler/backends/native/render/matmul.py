"""Products of two computed matrices, such as attention scores."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.form import MatMul
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import blocking, row_blocks, widths_of
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.products import Extra, Product
from grandopt.compiler.backends.native.render.text import loop, offset
from grandopt.compiler.backends.native.strides import collapse


def matmul_loops(
    op: MatMul,
    a: RenderedOperand,
    b: RenderedOperand,
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    level: IsaLevel,
) -> list[str]:
    """output = epilogue(a · b, extras…) for every matrix of the leading axes."""
    operands = [a, b, output, *extras]
    lead = output.shape[:-2]
    walks = [operand.spread((*lead, *_last_two(operand)))[:-2] for operand in operands]
    sizes, strides = collapse(lead, walks)
    named = [
        f"({operand.name} + {offset([(f'i{axis}', s[axis]) for axis in range(len(sizes))])})"
        for operand, s in zip(operands, strides, strict=True)
    ]
    rows, columns = output.shape[-2:]
    parts = [
        Extra(pointer, row, column)
        for pointer, operand in zip(named[3:], extras, strict=True)
        for row, column in [operand.spread(output.shape)[-2:]]
    ]
    a_row, a_k = a.strides[-2:]
    b_k, y_row = b.strides[-2], output.strides[-2]
    product = Product(
        a.shape[-1],
        level,
        left=lambda row, k: f"{named[0]}[{row} * {a_row} + ({k}) * {a_k}]",
        right=lambda k, column: f"{named[1]} + ({k}) * {b_k} + {column}",
        start=lambda column: "v_set1(0.0f)",
        output=lambda row, column: f"{named[2]} + {row} * {y_row} + {column}",
        epilogue=op.epilogue,
        extras=parts,
        ragged=True,
    )
    body = _columns(product, rows, columns)
    for axis in reversed(range(len(sizes))):
        body = loop(f"i{axis}", sizes[axis], body)
    return body


def _last_two(operand: RenderedOperand) -> tuple[int, ...]:
    return (1, 1, *operand.shape)[-2:]


def _columns(product: Product, rows: int, columns: int) -> list[str]:
    most_rows, most_vectors = blocking(rows, product.level)
    stride = most_vectors * product.level.lanes
    whole = columns - columns % stride
    lines: list[str] = []
    if whole:
        widths = widths_of(stride, product.level.lanes)
        body = row_blocks(rows, most_rows, lambda r, row: product.block(r, row, "n", widths))
        lines += loop("n", whole, body, stride)
    if columns > whole:
        rest = widths_of(columns - whole, product.level.lanes)
        lines += row_blocks(rows, most_rows, lambda r, row: product.block(r, row, str(whole), rest))
    return lines
