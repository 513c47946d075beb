"""Products over 8-bit codes: quantizing rows, then dot products in vectors or in tiles.

Vectors of sums · scales + bias go through a short epilogue before they are stored. Tiles leave them in the
output, and so do vectors where the epilogue is a long one, which then runs over it while it is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Quantize, QuantizedLinear
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render import sparse
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT, blocking, row_blocks, widths_of
from grandopt.compiler.backends.native.render.elementwise import map_loops
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.products import EPILOGUE_COST, Extra, finished
from grandopt.compiler.backends.native.render.text import indent, loop, offset
from grandopt.compiler.backends.native.render.tiles import shapes
from grandopt.compiler.backends.native.render.weights import GRANULE, PANEL, Weights, padded, panels
from grandopt.compiler.backends.native.render.words import TILE, starts, words
from grandopt.compiler.backends.native.strides import collapse


def quantize_loops(
    op: Quantize, x: RenderedOperand, codes: RenderedOperand, scales: RenderedOperand, weights: Weights
) -> list[str]:
    """Codes and scale of every row."""
    lead = x.shape[:-1]
    sizes, strides = collapse(lead, [operand.strides[:-1] for operand in (x, codes, scales)])
    outer = range(len(sizes) - 1)
    source, target, scale = (
        f"{operand.name} + {offset([(f'i{axis}', s[axis]) for axis in outer])}"
        for operand, s in zip((x, codes, scales), strides, strict=True)
    )
    step, code_step, scale_step = (s[-1] if s else 0 for s in strides)
    # Padded, because the last vector of a row loads them whole; by zeros, so that lanes beyond the row are 0
    # and not its largest number.
    scaling = "".join(f", (const float *)({weights.pointer(padded(v.constant))})" for v in op.scaling)
    quantizer = "quantize_scaled_rows" if op.scaling else "quantize_rows"
    if op.rectified:
        quantizer = "quantize_rectified_rows"
    rows = f"{sizes[-1] if sizes else 1}, {x.shape[-1]}"
    body = [f"{quantizer}({source}, {step}{scaling}, {rows}, {target}, {code_step}, {scale}, {scale_step});"]
    for axis in reversed(outer):
        body = loop(f"i{axis}", sizes[axis], body)
    return body


@dataclass(frozen=True)
class _Rows:
    """A pointer to the first row, as text, and the distance of rows in elements."""

    pointer: str
    stride: int

    def at(self, row: str) -> str:
        return f"{self.pointer} + {row} * {self.stride}"


@dataclass(frozen=True)
class _Product:
    """All rows of one loop; texts refer to `w`, `start`, `weight_scales` and `bias`."""

    codes: _Rows
    scales: _Rows
    output: _Rows
    rows: int
    depth: int
    """Words of a row of codes."""
    stored: int
    """Words of a row of weights, padding included."""
    level: IsaLevel
    rectified: bool
    """Whether the code of zero is the least one."""
    epilogue: Expression | None = None
    """What vectors of results go through before they are stored."""
    extras: Sequence[Extra] = ()
    """Its further operands."""

    @property
    def tiled(self) -> bool:
        """Whether tiles multiply, or vectors."""
        # `tile_sums` takes 16 rows and 64 inputs a step, never fewer. What a row of codes holds beyond its
        # inputs is not defined, but it meets weights of 0, and whole numbers know no NaN.
        return self.rows >= TILE and self.stored % TILE == 0 and self.level.tiles

    def panel(self, base: str, column: str, width: int, columns: int) -> list[str]:
        """One panel of `width` stored and `columns` valid columns from `column`."""
        return (self._tiles if self.tiled else self._vectors)(base, column, width, columns)

    def _tiles(self, base: str, column: str, width: int, columns: int) -> list[str]:
        """Pairs of tiles of rows, pairs of tiles of columns; the last tile of rows ends with the last row."""
        # Columns outside: the weights of a pair stay in the nearest cache while all rows pass. Pairs of both,
        # because 4 sums, 2 tiles of codes and 2 of weights are all 8 tiles; four loads serve four products.
        lines: list[str] = []
        for first in range(0, columns, 2 * TILE):
            valid = [min(TILE, columns - c) for c in range(first, min(first + 2 * TILE, columns), TILE)]
            tiles = -(-self.rows // TILE)
            here = f"{column} + {first}"
            if tiles > 1:
                lines += loop("r", tiles // 2, self._tile_block(f"{base} + {first}", here, width, valid, 2))
            if tiles % 2:
                last = [f"enum {{ r = {tiles // 2} }};"]
                lines += ["{", *indent(last + self._tile_block(f"{base} + {first}", here, width, valid, 1))]
                lines += ["}"]
        return lines

    def _tile_block(
        self, base: str, column: str, width: int, valid: Sequence[int], row_tiles: int
    ) -> list[str]:
        last = self.rows - TILE  # where tiles overlap, a row is computed twice, and comes out the same
        names = ["top", "next"][:row_tiles]
        lines = [f"const int top = {2 * TILE} * r < {last} ? {2 * TILE} * r : {last};"]
        if row_tiles > 1:
            lines.append(f"const int next = top + {TILE} < {last} ? top + {TILE} : {last};")
        rows = ", ".join(self.codes.at(name) for name in (names * 2)[:2])  # a lone tile's second is not read
        start = "nothing" if self.rectified else f"start + {column}"
        lines += [
            f"tile_sums({int(row_tiles > 1)}, {int(len(valid) > 1)}, {rows}, {self.codes.stride}, "
            f"{base}, {width}, {self.stored // TILE}, {start}, sums);"
        ]
        for r, name in enumerate(names):
            for c, count in enumerate(valid):
                there = f"{column} + {c * TILE}"
                lines.append(
                    f"tile_results(sums + {512 * r + 256 * c}, {self.scales.at(name)}, {self.scales.stride}, "
                    f"weight_scales + {there}, bias + {there}, {self.output.at(name)} + {there}, "
                    f"{self.output.stride}, {count});"
                )
        return lines

    def _vectors(self, base: str, column: str, width: int, columns: int) -> list[str]:
        # As for floats: sums of 32 bits fill as many registers, and a word of four inputs is one step.
        most_rows, most_vectors = blocking(self.rows, self.level)
        valid = widths_of(columns, self.level.lanes)
        lines: list[str] = []
        for first in range(0, len(valid), most_vectors):
            skipped = first * self.level.lanes
            block = self._block(
                f"{base} + {skipped}", f"{column} + {skipped}", width, valid[first : first + most_vectors]
            )
            lines += row_blocks(self.rows, most_rows, block)
        return lines

    def _block(
        self, base: str, column: str, width: int, valid: Sequence[int]
    ) -> Callable[[int, str], list[str]]:
        def block(rows: int, row: str) -> list[str]:
            cells = [(r, j) for r in range(rows) for j in range(len(valid))]
            splits = max(1, min(IN_FLIGHT // len(cells), self.depth))
            start = "vi_start_least" if self.rectified else "vi_start"
            # Sums begin at −128 · Σ weights where that undoes the centre of the codes; these are unsigned
            # because VNNI and AMX multiply signed weights by unsigned numbers. They have 32 bits on every
            # level and never saturate (see `MOST_INPUTS` of the pass): their order and the splits are free.
            lines = [
                f"vi a{r}_{j}_{s} = "
                + (f"{start}(start + {column} + {self._at(j)});" if s == 0 else "vi_set1(0);")
                for s in range(splits)
                for r, j in cells
            ]
            step = [
                line
                for s in range(splits)
                for line in self._step(base, width, rows, row, valid, f"k + {s}", s)
            ]
            whole = self.depth - self.depth % splits
            lines += loop("k", whole, step, splits)
            for k in range(whole, self.depth):
                lines += self._step(base, width, rows, row, valid, str(k), k - whole)
            lines += [
                f"a{r}_{j}_0 = vi_add(a{r}_{j}_0, a{r}_{j}_{s});" for s in range(1, splits) for r, j in cells
            ]
            for j, count in enumerate(valid):
                there = f"{column} + {self._at(j)}"
                lines += ["{", *indent(self._finish(rows, row, there, j, count)), "}"]
            return ["{", *indent(lines), "}"]

        return block

    def _step(
        self, base: str, width: int, rows: int, row: str, valid: Sequence[int], k: str, split: int
    ) -> list[str]:
        vectors = range(len(valid))
        lines = [f"const vi w{j} = vi_load({base} + ({k}) * {width} + {self._at(j)});" for j in vectors]
        for r in range(rows):
            lines.append(f"const vi x{r} = vi_four({self.codes.at(f'({row} + {r})')} + 4 * ({k}));")
            lines += [f"a{r}_{j}_{split} = v_dot4(a{r}_{j}_{split}, x{r}, w{j});" for j in vectors]
        return ["{", *indent(lines), "}"]

    def _finish(self, rows: int, row: str, column: str, vector: int, count: int) -> list[str]:
        lines = [f"const vf s = v_load(weight_scales + {column}), b = v_load(bias + {column});"]
        for r in range(rows):
            here = f"({row} + {r})"
            # In the order of `tile_results`: a row rounds alike whether tiles or vectors multiplied it.
            result = f"v_fma(v_from_vi(a{r}_{vector}_0) * s, v_set1(*({self.scales.at(here)})), b)"
            place = f"{self.output.at(here)} + {column}"
            lines.append(f"const vf y{r} = {result};")
            lines += finished(
                f"y{r}", self.epilogue, self.extras, (here, column), place, count, self.level.lanes
            )
        return lines

    def _at(self, vector: int) -> int:
        return vector * self.level.lanes


def quantized_loops(
    op: QuantizedLinear,
    operands: Sequence[RenderedOperand],
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    level: IsaLevel,
    around: Surroundings,
) -> list[str]:
    """output[row] = epilogue(x[row] · weightᵀ + bias, extras[row]…); operands are (codes, scales)."""
    walked = [*operands, output]
    sizes, strides = _walk(walked, output)
    rows = sizes[-1] if sizes else 1
    if sparse.worthwhile_codes(op, rows, level, around):
        added = _added(op, walked, extras, output)
        return sparse.sparse_code_loops(op, operands, output.name, added or [], around)
    weights = around.weights
    codes, scales, target = (_rows(operand, s) for operand, s in zip(walked, strides, strict=True))
    weight, weight_scales, bias = (v.constant for v in (op.weight, op.weight_scales, op.bias))
    count, depth = weight.shape
    # One packing for all levels and tiles: sequences have the depth that tiles want.
    packed = words(weight, TILE if op.output.elements >= TILE * count else 1)
    product = _Product(codes, scales, target, rows, -(-depth // 4), packed.shape[1], level, op.rectified)
    added = None if product.tiled else _added(op, walked, extras, output)
    if added is not None:
        product = replace(product, epilogue=op.epilogue, extras=added)
    body = _panels(product, count, f"(const uint32_t *)({weights.pointer(panels(packed))})")
    for axis in reversed(range(len(sizes) - 1)):
        body = loop(f"i{axis}", sizes[axis], body)
    lines = [
        f"const int32_t *const start = (const int32_t *)({weights.pointer(padded(starts(weight)))});",
        f"const float *const weight_scales = (const float *)({weights.pointer(padded(weight_scales))});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias))});",
    ]
    if product.tiled:
        # Four blocks of 16 × 16 sums, which vectors then scale; codes and weights fill all tiles to 16 rows.
        nothing = ["static const int32_t nothing[32];"] if op.rectified else []
        begin = [
            *nothing,
            "_Alignas(64) int32_t sums[1024];",
            shapes("shapes", (TILE,) * 8),
            "TILES_BEGIN(shapes);",
        ]
        body = [*begin, *body, "TILES_END();"]
    lines += body
    if op.epilogue is not None and added is None:
        lines += map_loops(op.epilogue, [output, *extras], output, level.lanes)
    return ["{", *indent(lines), "}"]


def _added(
    op: QuantizedLinear,
    walked: Sequence[RenderedOperand],
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
) -> list[Extra] | None:
    """The further operands of an epilogue that vectors go through before they are stored.

    None where it has to be a loop of its own: it is long, or its operands would cut the rows of the product
    into shorter runs.
    """
    if op.epilogue is None or op.epilogue.cost > EPILOGUE_COST:
        return None
    sizes, strides = _walk([*walked, *extras], output)
    if sizes != _walk(walked, output)[0]:
        return None
    rows = (_rows(operand, s) for operand, s in zip(extras, strides[len(walked) :], strict=True))
    return [
        Extra(first.pointer, first.stride, operand.spread(output.shape)[-1])
        for first, operand in zip(rows, extras, strict=True)
    ]


def _walk(operands: Sequence[RenderedOperand], output: RenderedOperand) -> tuple[list[int], list[list[int]]]:
    """The loops over all rows of the output: sizes, and the strides of each operand."""
    lead = output.shape[:-1]
    return collapse(lead, [operand.spread((*lead, operand.shape[-1]))[:-1] for operand in operands])


def _rows(operand: RenderedOperand, strides: Sequence[int]) -> _Rows:
    """The rows of the innermost of these loops."""
    outer = [(f"i{axis}", step) for axis, step in enumerate(strides[:-1])]
    return _Rows(f"({operand.name} + {offset(outer)})", strides[-1] if strides else 0)


def _panels(product: _Product, count: int, packed: str) -> list[str]:
    lines = [f"const uint32_t *const w = {packed};"]
    full, rest = divmod(count, PANEL)
    size = product.stored * PANEL
    if full:
        lines += loop("p", full, product.panel(f"w + p * {size}", f"p * {PANEL}", PANEL, PANEL))
    if rest:
        width = -(-rest // GRANULE) * GRANULE
        lines += product.panel(f"w + {full * size}", str(full * PANEL), width, rest)
    return ["{", *indent(lines), "}"]
