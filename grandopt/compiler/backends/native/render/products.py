"""The inner kernel of all matrix products: a block of rows × vectors, accumulated in registers.

Each step of k loads the block's vectors of the right-hand side once and multiplies them with one broadcast
element per row. With few rows, even and odd steps go to different accumulators, so that enough
multiplications are in flight to hide their latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.text import indent, loop, turns_between

LONGEST = 512
"""A sum of more turns is taken in parts: the rounding of a sum grows with its length."""
PART = 256
"""Turns of a sum in a part, unless the loops within take more."""
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
    walk: Callable[[str], str] | None = None
    """Where its rows are not evenly apart: the offset of a row."""

    def at(self, row: str) -> str:
        """Pointer to a row."""
        if self.walk is not None:
            return f"{self.pointer} + {self.walk(row)}"
        return f"{self.pointer} + {row} * {self.row}" if self.row else self.pointer


@dataclass(frozen=True)
class Product:
    """What a block multiplies. Texts are C expressions; `k`, `row` and `column` are texts they are given.

    `left(row, k)` is one element; `right(k, column)` a pointer to a vector; `start(column)` the vector that
    the first accumulator starts from; `output(row, column)` a pointer. With `ragged`, the right-hand side
    may not be read beyond its last column.
    """

    depth: int
    level: IsaLevel
    left: Callable[[str, str], str]
    right: Callable[[str, str], str]
    start: Callable[[str], str]
    output: Callable[[str, str], str]
    epilogue: Expression | None = None
    extras: Sequence[Extra] = ()
    ragged: bool = False
    paired: bool = False
    """The right-hand side is bfloat16, two steps of k to a word: `right` is given the number of the pair."""
    rounded: bool = False
    """The left-hand side is so, too: `left` is also given the number of the pair, and gives a word."""
    fetch: Fetch | None = None
    begin: Callable[[str], str] | None = None
    """The pointer to a row of the left-hand side, taken once for a block; `left` is given its name as row."""
    nest: Sequence[tuple[str, int]] = ()
    """Loops around that of k, whose variables `inside` may read: name and turns of each."""
    inside: Sequence[str] = ()
    """What these loops declare for `left` and `right`."""
    span: tuple[str, str] | None = None
    """The first step of k and the one behind the last, or those of pairs, where only the call tells them."""
    lanewise: bool = False
    """`left(row, k)` is a pointer to the number of the first column, and each column has its own."""

    def block(self, rows: int, row: str, column: str, widths: Sequence[int]) -> list[str]:
        """`rows` rows from `row`, one vector per width from `column`; a width counts its valid lanes."""
        cells = [(r, j) for r in range(rows) for j in range(len(widths))]
        turns = -(-self.depth // 2) if self.rounded else self.depth // 2 if self.paired else self.depth
        splits = 1 if self.span else max(1, min(IN_FLIGHT // len(cells), 8, turns))
        whole = turns - turns % splits
        cut, turns_of_part = self._parts(whole // splits)
        first = 0 if cut is None else 1  # sums of a part are added to those of number 0
        sums = range(first, first + splits)
        lines = [f"vf {_name(r, j, 0)} = {self.start(self._column(column, j))};" for r, j in cells]
        zeros = [f"vf {_name(r, j, s)} = v_set1(0.0f);" for s in sums if s for r, j in cells]
        gather = _gathered(cells, sums)
        steps = [
            line for n, s in enumerate(sums) for line in self._step(rows, row, column, widths, f"k + {n}", s)
        ]
        if self.fetch is not None:
            steps.append(self.fetch(row, rows, self._number("k")))
        first_turn, last_turn = self.span or ("0", str(whole))
        if cut == 0:
            sizes = turns_of_part, splits
            walk, sums = _in_parts("k", first_turn, last_turn, sizes, zeros, steps, gather), range(1)
        elif self.span:
            walk = turns_between("k", first_turn, last_turn, steps)
        else:
            walk = loop("k", whole, steps, splits) if whole else []
        for n in range(turns - whole):
            walk += self._step(rows, row, column, widths, str(whole + n), sums[n % len(sums)])
        if self.paired and not self.rounded and self.depth % 2:
            walk += self._pair(rows, row, column, widths, str(turns), sums[0], ("even",))
        walk = [*self.inside, *walk]
        for number, (variable, size) in enumerate(reversed(self.nest), 1):
            if number == cut:
                walk = _in_parts(variable, "0", str(size), (turns_of_part, 1), zeros, walk, gather)
            else:
                walk = loop(variable, size, walk)
        if self.begin is not None:
            lines += [f"const float *const x{r} = {self.begin(_plus(row, r))};" for r in range(rows)]
        lines += walk if cut is not None else [*zeros, *walk, *gather]
        lines += self._finish(rows, row, column, widths)
        return ["{", *indent(lines), "}"]

    def _parts(self, turns: int) -> tuple[int | None, int]:
        """The loop that is cut into parts with sums of their own, counted from that of k outwards, and its
        turns in a part; none where the sums are short."""
        inside = 1
        for number, size in enumerate([turns, *(size for _, size in reversed(self.nest))]):
            if inside * size > LONGEST:
                return number, max(1, PART // inside)
            inside *= size
        return None, 0

    def _number(self, k: str) -> str:
        """The number of a step, counted through all loops."""
        steps = -(-self.depth // 2) if self.paired else self.depth
        text = ""
        for variable, size in self.nest:
            text = f"({text} * {size} + {variable})" if text else variable
        return f"({text} * {steps} + {k})" if text else k

    def _row(self, row: str, r: int) -> str:
        """What `left` is given for row `r` of a block."""
        return _plus(row, r) if self.begin is None else f"x{r}"

    def _column(self, column: str, j: int) -> str:
        return f"{column} + {j * self.level.lanes}"

    def _step(self, rows: int, row: str, column: str, widths: Sequence[int], k: str, split: int) -> list[str]:
        if self.rounded:
            return self._dots(rows, row, column, len(widths), k, split)
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
            if self.lanewise:
                lines += self._own(r, row, column, widths, k, split)
                continue
            lines.append(f"const vf b{r} = v_set1({self.left(self._row(row, r), k)});")
            lines += [
                f"{_name(r, j, split)} = v_fma(b{r}, w{j}, {_name(r, j, split)});" for j in range(len(widths))
            ]
        return ["{", *indent(lines), "}"]

    def _own(self, r: int, row: str, column: str, widths: Sequence[int], k: str, split: int) -> list[str]:
        lines = []
        for j, width in enumerate(widths):
            pointer = f"{self.left(self._row(row, r), k)} + {self._column(column, j)}"
            load = f"v_load({pointer})" if width == self.level.lanes else f"v_load_n({pointer}, {width})"
            lines.append(f"{_name(r, j, split)} = v_fma({load}, w{j}, {_name(r, j, split)});")
        return lines

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
                factor = f"v_set1({self.left(self._row(row, r), f'2 * ({k}) + {number}')})"
                lines.append(f"const vf {half}_b{r} = {factor};")
                lines += [
                    f"{_name(r, j, split)} = v_fma({half}_b{r}, {half}{j}, {_name(r, j, split)});"
                    for j in range(len(widths))
                ]
        return ["{", *indent(lines), "}"]

    def _dots(self, rows: int, row: str, column: str, vectors: int, k: str, split: int) -> list[str]:
        lines = [
            f"const vp w{j} = vp_load({self.right(k, self._column(column, j))});" for j in range(vectors)
        ]
        for r in range(rows):
            lines.append(f"const vp x{r} = vp_set1({self.left(_plus(row, r), k)});")
            lines += [
                f"{_name(r, j, split)} = v_dot2({_name(r, j, split)}, x{r}, w{j});" for j in range(vectors)
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
        target = self.output(row, column)
        return finished(name, self.epilogue, self.extras, (row, column), target, width, self.level.lanes)


def finished(
    name: str,
    epilogue: Expression | None,
    extras: Sequence[Extra],
    cell: tuple[str, str],
    target: str,
    width: int,
    lanes: int,
) -> list[str]:
    """Epilogue and store of the vector `name`: `width` results of a row, from a column on (`cell`)."""
    row, column = cell
    leaves, loads = [name], []
    for i, extra in enumerate(extras):
        pointer = extra.at(row)
        if extra.column == 0:
            text = f"v_set1(*({pointer}))"
        elif width == lanes:
            text = f"v_load({pointer} + {column})"
        else:
            text = f"v_load_n({pointer} + {column}, {width})"
        loads.append(f"const vf e{i} = {text};")
        leaves.append(f"e{i}")
    statements = Statements(leaves)
    result = name if epilogue is None else statements.vector(epilogue)
    return ["{", *indent([*loads, *statements.lines, store(target, result, width, lanes)]), "}"]


def _name(row: int, vector: int, split: int) -> str:
    return f"a{row}_{vector}_{split}"


def _plus(text: str, number: int) -> str:
    return f"({text} + {number})" if number else text


def _gathered(cells: Sequence[tuple[int, int]], sums: Sequence[int]) -> list[str]:
    """The sums of each cell, added up two by two; those of a part then to number 0."""
    lines = []
    half = len(sums)
    while half > 1:
        upper = (half + 1) // 2
        lines += [
            f"{_name(r, j, sums[n - upper])} += {_name(r, j, sums[n])};"
            for n in range(upper, half)
            for r, j in cells
        ]
        half = upper
    return lines + ([f"{_name(r, j, 0)} += {_name(r, j, sums[0])};" for r, j in cells] if sums[0] else [])


def _in_parts(
    variable: str,
    first: str,
    last: str,
    sizes: tuple[int, int],
    before: Sequence[str],
    steps: Sequence[str],
    behind: Sequence[str],
) -> list[str]:
    """A loop cut into parts: `sizes` are the turns of each sum in a part, and the sums of a turn."""
    turns, step = sizes
    if turns * step == 1:
        return turns_between(variable, first, last, [*before, *steps, *behind])
    body = [
        *before,
        f"const int end = part + {turns * step} < {last} ? part + {turns * step} : {last};",
        *turns_between(variable, "part", "end", steps, step),
        *behind,
    ]
    return turns_between("part", first, last, body, turns * step)
