"""The inner kernel of all matrix products: a block of rows × vectors, accumulated in registers.

Each step of k loads the block's vectors of the right-hand side once and multiplies them with one broadcast
element per row. With few rows, even and odd steps go to different accumulators, so that enough
multiplications are in flight to hide their latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.levels import Level
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.text import indent, loop

IN_FLIGHT = 8
"""Multiplications that must be independent: 4 cycles of latency times 2 units."""
EPILOGUE_COST = 6
"""An epilogue of more nodes is looped over, not repeated for every accumulator."""


Fetch = Callable[[str, int, str], str]
"""`fetch(row, rows, k)`: a statement that asks for memory needed later, one for every step of a block."""


@dataclass(frozen=True)
class Extra:
    """An epilogue operand: its pointer, and the distance of its rows and of its columns (0 or 1)."""

    pointer: str
    row: int
    column: int


@dataclass(frozen=True)
class Product:
    """What a block multiplies. Texts are C expressions; `k`, `row` and `column` are texts they are given.

    `left(row, k)` is one element; `right(k, column)` a pointer to a vector; `start(column)` the vector that
    the first accumulator starts from; `output(row, column)` a pointer. With `ragged`, the right-hand side
    may not be read beyond its last column.
    """

    depth: int
    level: Level
    left: Callable[[str, str], str]
    right: Callable[[str, str], str]
    start: Callable[[str], str]
    output: Callable[[str, str], str]
    epilogue: Expression | None = None
    extras: Sequence[Extra] = ()
    ragged: bool = False
    paired: bool = False
    """The right-hand side is bfloat16, two steps of k to a word: `right` is given the number of the pair."""
    fetch: Fetch | None = None

    def block(self, rows: int, row: str, column: str, widths: Sequence[int]) -> list[str]:
        """`rows` rows from `row`, one vector per width from `column`; a width counts its valid lanes."""
        cells = [(r, j) for r in range(rows) for j in range(len(widths))]
        turns = self.depth // 2 if self.paired else self.depth
        splits = max(1, min(IN_FLIGHT // len(cells), 8, turns))
        lines = [
            f"vf {_name(r, j, s)} = {self.start(self._column(column, j)) if s == 0 else 'v_set1(0.0f)'};"
            for s in range(splits)
            for r, j in cells
        ]
        steps = [line for s in range(splits) for line in self._step(rows, row, column, widths, f"k + {s}", s)]
        if self.fetch is not None:
            steps.append(self.fetch(row, rows, "k"))
        whole = turns - turns % splits
        lines += loop("k", whole, steps, splits)
        for s in range(turns - whole):
            lines += self._step(rows, row, column, widths, str(whole + s), s)
        if self.paired and self.depth % 2:
            lines += self._pair(rows, row, column, widths, str(turns), 0, ("even",))
        half = splits
        while half > 1:
            upper = (half + 1) // 2
            lines += [
                f"{_name(r, j, s - upper)} += {_name(r, j, s)};" for s in range(upper, half) for r, j in cells
            ]
            half = upper
        lines += self._finish(rows, row, column, widths)
        return ["{", *indent(lines), "}"]

    def _column(self, column: str, j: int) -> str:
        return f"{column} + {j * self.level.lanes}"

    def _step(self, rows: int, row: str, column: str, widths: Sequence[int], k: str, split: int) -> list[str]:
        if self.paired:
            return self._pair(rows, row, column, widths, k, split, ("even", "odd"))
        lines = []
        for j, width in enumerate(widths):
            pointer = self.right(k, self._column(column, j))
            short = self.ragged and width < self.level.lanes
            lines.append(
                f"const vf w{j} = {f'v_load_n({pointer}, {width})' if short else f'v_load({pointer})'};"
            )
        for r in range(rows):
            lines.append(f"const vf b{r} = v_set1({self.left(_plus(row, r), k)});")
            lines += [
                f"{_name(r, j, split)} = v_fma(b{r}, w{j}, {_name(r, j, split)});" for j in range(len(widths))
            ]
        return ["{", *indent(lines), "}"]

    def _pair(
        self,
        rows: int,
        row: str,
        column: str,
        widths: Sequence[int],
        k: str,
        split: int,
        halves: Sequence[str],
    ) -> list[str]:
        lines = []
        for number, half in enumerate(halves):
            for j in range(len(widths)):
                pointer = self.right(k, self._column(column, j))
                lines.append(f"const vf {half}{j} = v_bf16_{half}({pointer});")
            for r in range(rows):
                factor = f"v_set1({self.left(_plus(row, r), f'2 * ({k}) + {number}')})"
                lines.append(f"const vf {half}_b{r} = {factor};")
                lines += [
                    f"{_name(r, j, split)} = v_fma({half}_b{r}, {half}{j}, {_name(r, j, split)});"
                    for j in range(len(widths))
                ]
        return ["{", *indent(lines), "}"]

    def _finish(self, rows: int, row: str, column: str, widths: Sequence[int]) -> list[str]:
        costly = self.epilogue is not None and self.epilogue.cost > EPILOGUE_COST
        if costly and rows * len(widths) > 2 and len(set(widths)) == 1:
            return self._looped_finish(rows, row, column, widths)
        return [
            line
            for r in range(rows)
            for j, width in enumerate(widths)
            for line in self._result(_plus(row, r), self._column(column, j), _name(r, j, 0), width)
        ]

    def _looped_finish(self, rows: int, row: str, column: str, widths: Sequence[int]) -> list[str]:
        count, lanes = len(widths), self.level.lanes
        spill = [f"block[{r * count + j}] = {_name(r, j, 0)};" for r in range(rows) for j in range(count)]
        body = self._result(
            f"({row} + c / {count})", f"{column} + c % {count} * {lanes}", "block[c]", widths[0]
        )
        return [f"vf block[{rows * count}];", *spill, *loop("c", rows * count, body)]

    def _result(self, row: str, column: str, name: str, width: int) -> list[str]:
        """Epilogue and store of one vector."""
        lanes = self.level.lanes
        leaves, loads = [name], []
        for i, extra in enumerate(self.extras):
            pointer = f"{extra.pointer} + {row} * {extra.row}" if extra.row else extra.pointer
            if extra.column == 0:
                text = f"v_set1(*({pointer}))"
            elif width == lanes:
                text = f"v_load({pointer} + {column})"
            else:
                text = f"v_load_n({pointer} + {column}, {width})"
            loads.append(f"const vf e{i} = {text};")
            leaves.append(f"e{i}")
        statements = Statements(leaves)
        result = name if self.epilogue is None else statements.vector(self.epilogue)
        target = self.output(row, column)
        return ["{", *indent([*loads, *statements.lines, store(target, result, width, lanes)]), "}"]


def _name(row: int, vector: int, split: int) -> str:
    return f"a{row}_{vector}_{split}"


def _plus(text: str, number: int) -> str:
    return f"({text} + {number})" if number else text


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


def blocking(rows: int, level: Level) -> tuple[int, int]:
    """Rows and vectors of a block that fit the level's registers, with one per vector and one to spare."""
    if rows == 1:
        return 1, IN_FLIGHT
    if level.registers <= 16:
        return (min(rows, 4), 3) if rows % 6 else (6, 2)
    if rows <= 6:
        return rows, 4
    return (8, 2) if rows % 8 == 0 and rows % 6 else (6, 4)
