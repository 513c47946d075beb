"""Products with constant weights on AMX tiles: bfloat16 operands, accumulation in float32.

The rows of the input are rounded to bfloat16 once and laid out as tiles. Then, block by block of columns, a
block's weights stay in the nearest cache while all rows pass. Two row tiles by two column tiles are in
accumulators at a time (one by three where there is only one row tile), so that two loads serve two products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Linear
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.products import Extra
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.weights import Precision, Weights, padded, tile_columns
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.signature import Array

ROWS = 16
"""The most rows of a tile."""
DEPTH = 32
"""Bfloat16 elements in a row of a left-hand tile."""
COLUMNS = 16
"""Columns of a product's tile."""
TILE_WORDS = 256
"""32-bit words of a full tile."""
WORTHWHILE = 1 << 15
"""Multiply-adds from which setting up the tiles (50 ns) and rounding the input pay off."""


def worthwhile(level: IsaLevel, precision: Precision, rows: int, count: int, depth: int) -> bool:
    """Whether a product of `rows` × `depth` by `depth` × `count` should go through tiles at this level."""
    macs = rows * count * depth
    return level.tiles and precision == "bfloat16" and macs >= WORTHWHILE and count >= COLUMNS


def shapes(name: str, rows: Sequence[int]) -> str:
    """The constant that gives tile i `rows[i]` rows of 64 bytes."""
    listed = ", ".join(str(count) for count in rows)
    widths = ", ".join("64" for _ in rows)
    return f"static const tile_shapes {name} = {{.palette = 1, .bytes = {{{widths}}}, .rows = {{{listed}}}}};"


@dataclass(frozen=True)
class _Tiled:
    """A product's sizes and C texts: `y` is (pointer, distance of rows), likewise the extras."""

    rows: int
    count: int
    depth: int
    y: tuple[str, int]
    extras: Sequence[Extra]
    epilogue: Expression | None

    @property
    def row_tiles(self) -> int:
        """How many tiles the rows are spread over, evenly."""
        return -(-self.rows // ROWS)

    @property
    def height(self) -> int:
        """Rows of a tile. The last tile ends with the last row, so it may repeat rows of the one before."""
        # All are of one shape, because setting shapes clears every tile. 17 rows are 2 tiles of 9: in tiles
        # of 16, 15 rows would be rounded, multiplied and finished twice.
        return -(-self.rows // self.row_tiles)

    @property
    def depth_tiles(self) -> int:
        """Tiles along the depth."""
        return -(-self.depth // DEPTH)

    @property
    def direct(self) -> bool:
        """Whether the accumulators can be stored to the output as they are."""
        # A tile stores all its columns: beyond the last one lies the next row.
        return self.epilogue is None and self.count % COLUMNS == 0

    def first_row(self, tile: str) -> str:
        """The first row of a tile."""
        if self.rows == self.row_tiles * self.height:
            return f"({tile}) * {self.height}"
        last = self.rows - self.height
        return f"(({tile}) < {self.row_tiles - 1} ? ({tile}) * {self.height} : {last})"

    @property
    def wide(self) -> int:
        """Column tiles of a block."""
        # The 8 tiles are 4 accumulators, 2 left and 2 right ones, or 3, 1 and up to 4. A product waits for
        # the one before it in its accumulator, so that several must be under way.
        return 2 if self.row_tiles > 1 else 3

    def columns(self) -> list[str]:
        """All columns, a block at a time."""
        width = self.wide * COLUMNS
        whole, rest = divmod(self.count, width)
        lines = loop("n", whole, self._rows("n", width)) if whole else []
        return lines + (self._rows(str(whole), rest) if rest else [])

    def _rows(self, block: str, valid: int) -> list[str]:
        """All row tiles of one block of columns, of which `valid` are in the output."""
        lines = [
            f"const uint32_t *const panel = w + {block} * {self.wide * self.depth_tiles * TILE_WORDS};",
            f"const int column = {block} * {self.wide * COLUMNS};",
        ]
        columns = -(-valid // COLUMNS)
        pairs, lone = divmod(self.row_tiles, 2)
        if pairs:
            lines += loop("m", pairs, self._block("2 * m", 2, columns, valid))
        if lone:
            lines += self._block(str(self.row_tiles - 1), 1, columns, valid)
        return ["{", *indent(lines), "}"]

    def _block(self, tile: str, tall: int, wide: int, valid: int) -> list[str]:
        """`tall` row tiles from number `tile` times `wide` column tiles."""
        # Right-hand tiles take turns among the tiles that are left over, from the last: one is loaded while
        # another is still being multiplied.
        accumulator = {(r, c): r * wide + c for r in range(tall) for c in range(wide)}
        left = {r: len(accumulator) + r for r in range(tall)}
        right = {c: 7 - c % (8 - len(accumulator) - tall) for c in range(wide)}
        words = self.height * DEPTH
        lines = [  # rows 0 bytes apart: every row of an accumulator begins as the bias
            f"TILE_LOAD({number}, bias + column + {c * COLUMNS}, 0);"
            for (_, c), number in accumulator.items()
        ]
        step = [
            f"TILE_LOAD({left[r]}, x + (({tile} + {r}) * {self.depth_tiles} + k) * {words}, 64);"
            for r in range(tall)
        ]
        for c in range(wide):
            start = f"panel + ({c * self.depth_tiles} + k) * {TILE_WORDS}"
            step.append(f"TILE_LOAD({right[c]}, {start}, 64);")
            step += [f"TILE_BF16({accumulator[r, c]}, {left[r]}, {right[c]});" for r in range(tall)]
        lines += loop("k", self.depth_tiles, step)
        for r in range(tall):
            lines += self._finish(
                self.first_row(f"{tile} + {r}"), [accumulator[r, c] for c in range(wide)], valid
            )
        return ["{", *indent(lines), "}"]

    def _finish(self, row: str, accumulators: Sequence[int], valid: int) -> list[str]:
        pointer, step = self.y
        if self.direct:
            stores = [
                f"TILE_STORE({number}, {pointer} + row * {step} + column + {c * COLUMNS}, {step * 4});"
                for c, number in enumerate(accumulators)
            ]
            return ["{", *indent([f"const int row = {row};", *stores]), "}"]
        # Tiles cannot be computed with, only stored: the epilogue reads them back as vectors.
        stores = [
            f"TILE_STORE({number}, block + {c * COLUMNS}, {len(accumulators) * 64});"
            for c, number in enumerate(accumulators)
        ]
        body = [f"const int row = {row} + r;"]
        for c in range(len(accumulators)):
            body += self._result(
                f"block + r * {len(accumulators) * COLUMNS}", c * COLUMNS, valid - c * COLUMNS
            )
        return ["{", *indent([*stores, *loop("r", self.height, body)]), "}"]

    def _result(self, block: str, column: int, valid: int) -> list[str]:
        """Epilogue and store of one vector."""
        width = min(valid, COLUMNS)
        leaves = ["value"]
        lines = [f"const vf value = v_load({block} + {column});"]
        for i, extra in enumerate(self.extras):
            pointer = f"{extra.pointer} + row * {extra.row}"
            place = f"{pointer} + column + {column}"
            load = f"v_load({place})" if width == COLUMNS else f"v_load_n({place}, {width})"
            lines.append(f"const vf e{i} = {load if extra.column else f'v_set1(*({pointer}))'};")
            leaves.append(f"e{i}")
        statements = Statements(leaves)
        result = "value" if self.epilogue is None else statements.vector(self.epilogue)
        target = f"{self.y[0]} + row * {self.y[1]} + column + {column}"
        return ["{", *indent([*lines, *statements.lines, store(target, result, width, COLUMNS)]), "}"]


def tile_loops(
    op: Linear,
    constants: tuple[Array, Array],
    x: tuple[str, int],
    y: tuple[str, int],
    extras: Sequence[Extra],
    rows: int,
    weights: Weights,
    workspace: Workspace,
) -> list[str]:
    """output[row] = epilogue(x[row] · weightᵀ + bias, extras[row]…); x and y are (pointer, row distance).

    `work` points to the workspace.
    """
    weight, bias = constants
    count, depth = weight.shape
    tiled = _Tiled(rows, count, depth, y, extras, op.epilogue)
    height = tiled.height
    (place,) = workspace.layout(tiled.row_tiles * height * tiled.depth_tiles * DEPTH * 2)
    # Accumulators and left-hand tiles are as tall as the tiles of the input, 4 + 2 or 3 + 1 of them at most;
    # right-hand ones always hold 16 pairs of steps.
    heights = [height] * (6 if tiled.row_tiles > 1 else 4)
    to = f"x + t * {height * tiled.depth_tiles * DEPTH}"
    source = f"{x[0]} + ({tiled.first_row('t')}) * {x[1]}"
    lines = [
        shapes("shapes", [*heights, *[ROWS] * (8 - len(heights))]),
        f"const uint32_t *const w = (const uint32_t *)({weights.pointer(tile_columns(weight))});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias))});",
        f"uint16_t *const x = (uint16_t *)(work + {place});",
        *(
            []
            if tiled.direct
            else [f"float block[{height * tiled.wide * COLUMNS}] __attribute__((aligned(64)));"]
        ),
        *loop("t", tiled.row_tiles, [f"tile_rows({to}, {source}, {x[1]}, {height}, {depth});"]),
        "TILES_BEGIN(shapes);",
        *tiled.columns(),
        "TILES_END();",
    ]
    return ["{", *indent(lines), "}"]
