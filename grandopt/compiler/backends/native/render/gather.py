"""Rows of a table by index, every index checked."""

from __future__ import annotations

import math

from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import C_TYPES, loop

INDEX_FAULT = 3
"""What a call returns when an index lies outside its table."""


def gather_loops(table: RenderedOperand, indices: RenderedOperand, output: RenderedOperand) -> list[str]:
    """output[t, i] = table[t, indices[t, i]]; all three are contiguous within a sample."""
    count, rows = math.prod(indices.shape[1:]), table.shape[1]
    row = math.prod(table.shape[2:])
    stride = 0 if table.shape[0] == 1 else table.strides[0]
    source = f"{table.name} + t * {stride} + index * {row}"
    target = f"{output.name} + t * {output.strides[0]} + i * {row}"
    step = indices.strides[0] if indices.shape[0] > 1 else 0
    body = [
        f"const int64_t index = place_of({indices.name}[t * {step} + i], {rows}, {INDEX_FAULT}, &faults);",
        f"copy_row({target}, {source}, {row} * sizeof({C_TYPES[table.dtype]}));",
    ]
    return loop("t", output.shape[0], loop("i", count, body))
