"""Convolutions as products whose rows are read where they lie: the depth is walked by taps and channels.

No patch is ever copied. Elements of x are broadcast one at a time, so that x may have any strides. Taps that
lie outside x are left out: positions with the same taps inside are one product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from grandopt.compiler.backends.native.form import Convolve
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import cheapest_blocks, row_blocks, widths_of
from grandopt.compiler.backends.native.render.convolution_walk import Segment, Taps, segments, walk_of
from grandopt.compiler.backends.native.render.linear import panel_fetch
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.products import Extra, Product
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.weights import (
    GRANULE,
    PANEL,
    Precision,
    Weights,
    padded,
    panels,
)
from grandopt.compiler.backends.native.strides import collapse, row_major
from grandopt.signature import Array


def convolution_loops(
    op: Convolve,
    x: RenderedOperand,
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    level: IsaLevel,
    around: Surroundings,
) -> list[str]:
    """output[p] = epilogue(Σ x[p · stride + tap · dilation − before] · weight[tap] + bias, extras[p]…)."""
    kernel = _Kernel(op, x, extras, output, level, around.weights)
    lines = kernel.constants()
    for run in itertools.product(*(segments(op, axis) for axis in range(len(op.strides)))):
        lines += kernel.product(run)
    return ["{", *indent(lines), "}"]


class _Kernel:
    """The products of one convolution, over one packing of its weights."""

    def __init__(
        self,
        op: Convolve,
        x: RenderedOperand,
        extras: Sequence[RenderedOperand],
        output: RenderedOperand,
        level: IsaLevel,
        weights: Weights,
    ) -> None:
        self._op, self._x, self._extras, self._output = op, x, extras, output
        self._level, self._weights = level, weights
        # Depthwise products are bound by reading x: its weights are few.
        precision: Precision = "float32" if op.depthwise else weights.precision(op)
        self._paired = precision == "bfloat16"
        spatial = x.strides[2:-1]
        taps = [step * apart for step, apart in zip(spatial, op.dilations, strict=True)]
        inner = [] if op.depthwise else [x.strides[-1]]
        self._steps = [*taps, *inner]  # of x along the axes of the kernel, the channels last
        self._moves = [x.strides[1], *(s * n for s, n in zip(spatial, op.strides, strict=True))]
        self._sizes = [*op.weight.shape[1:-1], *([] if op.depthwise else [op.weight.shape[-1]])]
        # The shortest steps innermost, for long runs; two bfloat16 of a word are of neighbouring channels.
        order = sorted(range(len(self._sizes)), key=lambda axis: -self._steps[axis])
        self._order = list(range(len(self._sizes))) if self._paired else order
        self._packed = panels(self._flat(), precision, GRANULE)

    @property
    def _run(self) -> int:
        """Stored steps of the innermost axis."""
        size = self._sizes[self._order[-1]]
        return size + size % 2 if self._paired else size

    @property
    def _stored(self) -> int:
        """Rows of a panel: steps, or words of two."""
        steps = math.prod(self._sizes[axis] for axis in self._order[:-1]) * self._run
        return steps // 2 if self._paired else steps

    def _flat(self) -> Array:
        """The weights [N, steps] in the order in which they are walked."""
        weight = self._op.weight.constant
        weight = weight[..., 0] if self._op.depthwise else weight
        turned = weight.transpose(0, *(axis + 1 for axis in self._order))
        missing = self._run - turned.shape[-1]
        whole = np.pad(turned, [*((0, 0) for _ in self._order), (0, missing)])
        return np.ascontiguousarray(whole.reshape(len(weight), -1))

    def _wide(self, rows: int) -> int:
        """Columns that are done with before the next ones."""
        # Of short vectors so few that a pass over the rows reads one run, which the nearest cache holds.
        return GRANULE if self._level.lanes < GRANULE and rows > 2 else PANEL

    def constants(self) -> list[str]:
        """The declarations of `w` and `bias`."""
        ctype = "uint32_t" if self._paired else "float"
        bias = self._op.bias.constant
        return [
            f"const {ctype} *const w = (const {ctype} *)({self._weights.pointer(self._packed)});",
            f"const float *const bias = (const float *)({self._weights.pointer(padded(bias))});",
        ]

    def product(self, run: Sequence[Segment]) -> list[str]:
        """All columns of the positions that have the same taps within x."""
        op, output = self._op, self._output
        lead = (output.shape[0], output.shape[1], *(part.count for part in run))
        walks = [
            (self._x.strides[0], *self._moves),
            *(operand.spread(output.shape)[:-1] for operand in (output, *self._extras)),
        ]
        sizes, strides = collapse(lead, walks)
        sizes, strides = (sizes, strides) if sizes else ([1], [[0] for _ in walks])
        firsts = [part.first for part in run]
        starts = [sum(n * s for n, s in zip(firsts, walk[2:], strict=True)) for walk in walks]
        for axis, part in enumerate(run):
            starts[0] += part.taps[0] * self._steps[axis] - op.before[axis] * self._x.strides[2 + axis]
        pointers = [
            f"{operand.name} + {start}" if start else operand.name
            for operand, start in zip((self._x, output, *self._extras), starts, strict=True)
        ]
        at = [walk_of(sizes, steps) for steps in strides]
        rows = math.prod(sizes)
        ranges = [*(part.taps for part in run), *([] if op.depthwise else [(0, op.weight.shape[-1])])]
        fetch = None
        if all(part.count == n for part, n in zip(run, output.shape[2:-1], strict=True)):
            count = -(-output.shape[-1] // self._wide(rows))
            fetch = panel_fetch(self._weights, self._packed, count, rows, self._stored)
        extras = [
            Extra(pointer, 0, operand.spread(output.shape)[-1], walk)
            for pointer, operand, walk in zip(pointers[2:], self._extras, at[2:], strict=True)
        ]
        taps = Taps(*self._walked(ranges))
        return self._panels(taps, rows, pointers[:2], at[:2], extras, fetch)

    def _walked(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, list[int], list[int], list[int]]:
        """Where the weights begin; turns of the loops over the depth, their steps in x and in the weights."""
        sizes = [ranges[axis][1] - ranges[axis][0] for axis in self._order]
        steps = [self._steps[axis] for axis in self._order]
        stored = row_major([*(self._sizes[axis] for axis in self._order[:-1]), self._run])
        start = sum(ranges[axis][0] * step for axis, step in zip(self._order, stored, strict=True))
        if self._paired:
            words = [step // 2 for step in stored[:-1]]
            outer, (in_x, in_w) = collapse(sizes[:-1], [steps[:-1], words])
            return start // 2, [*outer, sizes[-1]], [*in_x, steps[-1]], [*in_w, 1]
        outer, (in_x, in_w) = collapse(sizes, [steps, stored])
        return (start, outer, in_x, in_w) if outer else (start, [1], [0], [1])

    def _panels(
        self,
        taps: Taps,
        rows: int,
        pointers: Sequence[str],
        at: Sequence[Callable[[str], str]],
        extras: Sequence[Extra],
        fetch: Callable[[str, str, int, str], str] | None,
    ) -> list[str]:
        count, stored = self._op.output.shape[-1], self._stored
        source, target = pointers
        own = self._op.depthwise

        wide = self._wide(rows)

        def panel(number: str, columns: int) -> list[str]:
            base, column = f"w + {number} * {stored * wide}", f"{number} * {wide}"
            product = Product(
                taps.depth,
                self._level,
                left=lambda row, k: (
                    f"{row} + {taps.source(k)} + {column}" if own else f"{row}[{taps.source(k)}]"
                ),
                right=lambda k, inside: (
                    f"{taps.words(base)} + ({inside}) / {GRANULE} * {stored * GRANULE}"
                    f" + ({k}) * {taps.in_w[-1] * GRANULE} + ({inside}) % {GRANULE}"
                ),
                start=lambda inside: f"v_load(bias + {column} + {inside})",
                output=lambda row, inside: f"{target} + {at[1](row)} + {column} + {inside}",
                epilogue=self._op.epilogue,
                paired=self._paired,
                fetch=None if fetch is None else partial(fetch, number),
                begin=lambda row: f"{source} + {at[0](row)}",
                nest=taps.nest,
                inside=taps.declarations(base, self._paired),
                lanewise=own,
                extras=[
                    Extra(e.pointer + (f" + {column}" if e.column else ""), e.row, e.column, e.walk)
                    for e in extras
                ],
            )
            return _columns(product, rows, widths_of(columns, self._level.lanes))

        full, rest = divmod(count, wide)
        return [
            *(loop("p", full, panel("p", wide)) if full else []),
            *(panel(str(full), rest) if rest else []),
        ]


def _columns(product: Product, rows: int, widths: Sequence[int]) -> list[str]:
    """All rows of one panel, in blocks of as many vectors and rows as takes the least time."""
    lines: list[str] = []
    first = 0
    for vectors, most_rows in cheapest_blocks(rows, len(widths), product.level, product.paired):
        column, part = str(first * product.level.lanes), widths[first : first + vectors]
        lines += row_blocks(rows, most_rows, _block(product, column, part))
        first += vectors
    return lines


def _block(product: Product, column: str, widths: Sequence[int]) -> Callable[[int, str], list[str]]:
    return lambda rows, row: product.block(rows, row, column, widths)
