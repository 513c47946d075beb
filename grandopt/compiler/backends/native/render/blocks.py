"""Which blocks of rows × vectors a product is done in: what fits the registers and takes the least time."""

from __future__ import annotations

from collections.abc import Callable

from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.text import loop

IN_FLIGHT = 8
"""Multiplications that must be independent: 4 cycles of latency times 2 units."""
LATENCY = 4.8
"""Cycles until a product can be added to, with a fifth to spare for what is not evenly spread."""
TALLEST = 12
"""Rows of a block, at most: its text is written out."""
TURN = 0.5
"""Cycles that a turn of a loop takes beside its products."""


def widths_of(columns: int, lanes: int) -> list[int]:
    """Valid lanes of each vector over `columns` columns."""
    return [min(lanes, columns - start) for start in range(0, columns, lanes)]


def row_blocks(rows: int, most: int, block: Callable[[int, str], list[str]]) -> list[str]:
    """Calls of `block(rows, first row)` that cover all rows, `most` at a time."""
    whole = rows - rows % most
    lines: list[str] = []
    if whole:
        lines += loop("m", whole, block(most, "m"), most)
    if rows > whole:
        lines += block(rows - whole, str(whole))
    return lines


def blocking(rows: int, level: IsaLevel, widened: bool = False) -> tuple[int, int]:
    """Rows and vectors of a block that fit the level's registers, with one per vector and one to spare.

    With `widened`, each word of the weights becomes two vectors in registers.
    """
    if rows == 1:  # nothing is used twice: as many vectors as hide the latency
        return 1, IN_FLIGHT
    if widened:  # 5 · 2 + 2 · 2 + 1 = 15 of 16, or 5 · 4 + 2 · 4 + 1 = 29 of 32
        return min(rows, 5), 2 if level.registers <= 16 else 4
    if level.registers <= 16:  # 4 · 3 + 3 + 1 = 16, or 6 · 2 + 2 + 1 = 15 where that leaves no rows over
        return (min(rows, 4), 3) if rows % 6 else (6, 2)
    if rows <= 6:
        return rows, 4
    # 6 · 4 + 4 + 1 = 29 of 32. 8 · 2 only where it leaves no rows over and 6 does: a block of few rows at the
    # end loads all the weights once more.
    return (8, 2) if rows % 8 == 0 and rows % 6 else (6, 4)


def cheapest_blocks(rows: int, vectors: int, level: IsaLevel, widened: bool = False) -> list[tuple[int, int]]:
    """The passes over all rows that take the least time: (vectors, rows of a block) of each.

    With `widened` as for `blocking`.
    """
    best: list[tuple[int, int]] = []
    least = float("inf")
    for passes in range(1, vectors + 1):
        part, more = divmod(vectors, passes)
        chosen = [_best_rows(rows, part + (number < more), level, widened) for number in range(passes)]
        if all(chosen) and (time := sum(cost for cost, _, _ in chosen)) < least:
            best, least = [(wide, tall) for _, wide, tall in chosen], time
    return best


def _best_rows(rows: int, vectors: int, level: IsaLevel, widened: bool) -> tuple[float, int, int]:
    """The least time of a pass of so many vectors over all rows, the vectors, and the rows of a block."""
    found = (float("inf"), vectors, 1)
    for tall in range(min(rows, TALLEST), 0, -1):
        held = tall * vectors + (1 + widened) * vectors + 1 if tall > 1 else 2 * vectors
        if held > level.registers:
            continue
        whole, rest = divmod(rows, tall)
        time = whole * _step_time(tall, vectors) + (_step_time(rest, vectors) if rest else 0.0)
        found = min(found, (time, vectors, tall), key=lambda item: item[0])
    return found


def _step_time(rows: int, vectors: int) -> float:
    """Cycles of one step of a block where two products and two loads begin in each."""
    cells = rows * vectors
    # Of one or two rows each product loads its weights itself.
    loads = rows + vectors if rows > 2 else cells + rows
    waiting = cells * max(1, IN_FLIGHT // cells)
    return max(cells / 2, loads / 2, cells / waiting * LATENCY) + TURN
