"""Attention: for some rows of the query at a time their scores, the soft maximum, and the mean of the values.

The scores of these rows stay in the nearest cache. The keys of a head are turned once, so that neighbours are
those of one element of all keys; the values are read where they lie. Where products are of pairs of bfloat16
numbers, each is laid out in pairs once: of two elements of a key, and of the same element of two values.
Of what constants hide from all of the rows nothing is computed, unless a number is so large, or is NaN, that
it would be seen all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.form import Attention
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.attention_head import AttentionHead, Distances
from grandopt.compiler.backends.native.render.blocks import widths_of
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.products import Extra, Product
from grandopt.compiler.backends.native.render.text import indent, loop, offset, turns_between
from grandopt.compiler.backends.native.strides import collapse

TOGETHER = 4
"""Rows whose soft maxima are taken side by side; half of them with 16 registers."""


def attention_loops(
    op: Attention,
    operands: tuple[RenderedOperand, RenderedOperand, RenderedOperand],
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    level: IsaLevel,
    around: Surroundings,
) -> list[str]:
    """output = softmax(epilogue(query · keys, extras…)) · values for every matrix of the leading axes."""
    everything = [*operands, output, *extras]
    lead = output.shape[:-2]
    walks = [operand.spread((*lead, *_last_two(operand)))[:-2] for operand in everything]
    sizes, strides = collapse(lead, walks)
    pointers = [
        f"({operand.name} + {offset([(f'i{axis}', s[axis]) for axis in range(len(sizes))])})"
        for operand, s in zip(everything, strides, strict=True)
    ]
    over_scores = [operand.spread((*output.shape[:-1], op.keys.shape[-1])) for operand in extras]
    wanted = op.rounded or around.weights.precision(op) == "bfloat16"
    kernel = _Kernel(
        op,
        level,
        tuple(pointers),
        tuple(_distances(operand) for operand in operands),
        output.strides[-2],
        tuple((spread[-2], spread[-1]) for spread in over_scores),
        wanted and level.pairs,
        around.realtime,
    )
    return [around.work(), *kernel.step(around, sizes)]


def _distances(operand: RenderedOperand) -> Distances:
    """Those of the rows and of the columns of a matrix; one column counts as having neighbours."""
    along, across = operand.strides[-2:]
    return along, across if operand.shape[-1] > 1 else 1


def _last_two(operand: RenderedOperand) -> tuple[int, ...]:
    return (1, 1, *operand.shape)[-2:]


class _Kernel(AttentionHead):
    """What is done for a head."""

    def step(self, around: Surroundings, sizes: Sequence[int]) -> list[str]:
        """The whole step: memory, and all heads."""
        wide, lanes = self.padded(self.keys), self.level.lanes
        named = {
            "float *const scores": 4 * self.tall * wide,
            "float *const shares": 4 * self.tall,
            "float *const turned": 4 * self.padded(self.depth) * wide if self.turned else 0,
        }
        if self.paired:
            named |= {
                "uint32_t *const query_pairs": 4 * self.tall * self.pair_words,
                "uint32_t *const weight_pairs": 2 * self.tall * wide,
                "uint32_t *const value_pairs": 4 * -(-self.keys // 2) * self.padded(self.columns),
                "uint32_t *const rows_of_keys": 4 * lanes * self.pair_words,
            }
        places = around.workspace.layout(*named.values())
        lines = [
            f"{name} = ({name.partition(' *')[0]} *)(work + {place});"
            for (name, size), place in zip(named.items(), places, strict=True)
            if size
        ]
        if self.skipping is not None:
            listed = ", ".join(f"{{{first}, {last}}}" for first, last in self.skipping[1])
            lines.append(f"static const int ends[][2] = {{{listed}}};")
        body = [*self.laid_out(), *self._groups()]
        for axis in reversed(range(len(sizes))):
            body = loop(f"i{axis}", sizes[axis], body)
        return ["{", *indent([*lines, *body]), "}"]

    def _groups(self) -> list[str]:
        """All rows of the query, a group at a time."""
        whole = self.rows - self.rows % self.tall
        lines = loop("m", whole, self._group("m", self.tall), self.tall)
        return lines + (self._group(str(whole), self.rows - whole) if self.rows > whole else [])

    def _group(self, row: str, rows: int) -> list[str]:
        query, _, _, output, *extras = self.pointers
        lines = [
            f"const float *const q = {query} + {row} * {self.strides[0][0]};",
            f"float *const y = {output} + {row} * {self.output_row};",
            *(
                f"const float *const extra{i} = {pointer} + {row} * {step};"
                for i, (pointer, (step, _)) in enumerate(zip(extras, self.extra_strides, strict=True))
            ),
        ]
        if self.skipping is None:
            lines.append(f"enum {{ first = 0, last = {self.keys} }};")
        else:
            number = f"{row} / {self.tall}"
            lines.append(f"const int first = all ? 0 : ends[{number}][0];")
            lines.append(f"const int last = all ? {self.keys} : ends[{number}][1];")
        if self.paired:
            source = f"q + r * {self.strides[0][0]}, {self.depth}"
            lines += loop("r", rows, [f"pairs_of_row(query_pairs + r * {self.pair_words}, {source});"])
        return ["{", *indent([*lines, *self._scores(rows), *self._weights(rows), *self._means(rows)]), "}"]

    def _scores(self, rows: int) -> list[str]:
        """The scores of the keys from `first` to before `last`."""
        lanes, wide = self.level.lanes, self.padded(self.keys)
        ctype = "(const uint32_t *)" if self.paired else ""
        source, step = ("turned", wide) if self.turned else (self.pointers[1], self.strides[1][0])
        left = (
            f"query_pairs[{{}} * {self.pair_words} + {{}}]"
            if self.paired
            else f"q[{{}} * {self.strides[0][0]} + {{}}]"
        )
        product = Product(
            self.depth,
            self.level,
            left=left.format,
            right=lambda k, column: f"{ctype}{source} + ({k}) * {step} + {column}",
            start=lambda column: "v_set1(0.0f)",
            output=lambda row, column: f"scores + {row} * {wide} + {column}",
            epilogue=self.op.epilogue,
            extras=[Extra(f"extra{i}", *strides) for i, strides in enumerate(self.extra_strides)],
            ragged=not self.turned,
            paired=self.paired,
            rounded=self.paired,
        )
        vectors = 1 if self.skipping is not None else self.wide(rows, self.keys)
        stride = vectors * lanes
        whole = self.keys - self.keys % stride
        lines: list[str] = []
        if whole:
            block = product.block(rows, "0", "n", [lanes] * vectors)
            end = f"(last < {whole} ? last : {whole})"
            skipped = self.skipping is not None
            lines += (
                turns_between("n", "first", end, block, stride)
                if skipped
                else loop("n", whole, block, stride)
            )
        if self.keys > whole:
            rest = product.block(rows, "0", str(whole), widths_of(self.keys - whole, lanes))
            lines += [f"if (last > {whole})", *rest] if self.skipping is not None else rest
        return lines

    def _weights(self, rows: int) -> list[str]:
        """exp(score − the row's largest), and per row 1 / Σ of them."""
        most = TOGETHER if self.level.registers > 16 else TOGETHER // 2
        whole = rows - rows % most
        lines = loop("r", whole, self._weights_of_few(most), most) if whole else []
        if rows > whole:
            lines += ["{", *indent([f"enum {{ r = {whole} }};", *self._weights_of_few(rows - whole)]), "}"]
        return lines

    def _weights_of_few(self, count: int) -> list[str]:
        """Those of the rows from `r` on, side by side: each waits for its largest score, then for its sum."""
        lanes, wide, each = self.level.lanes, self.padded(self.keys), range(count)
        rest, behind = self.keys % lanes, wide - lanes
        exponent = "v_exp_short" if self.paired else "v_exp"
        lines, tops, peaks, weights, shares = [], [], [], [], []
        for i in each:
            lines.append(f"float *const row{i} = scores + (r + {i}) * {wide};")
            if rest:  # what stands behind the last key weighs nothing
                last = f"row{i} + {behind}"
                lines.append(f"v_store({last}, v_fill(v_load({last}), {rest}, -INFINITY));")
            lines.append(f"vf highest{i} = v_set1(-INFINITY), sum{i} = v_set1(0.0f);")
            tops.append(f"highest{i} = v_max_second(v_load(row{i} + n), highest{i});")
            peak, share = f"top{i}", f"1.0f / total{i}"
            if self.op.admitted:
                peak = f"CHOOSE(top{i} > -INFINITY, top{i}, 0.0f)"
                share = f"CHOOSE(total{i} == 0.0f, 0.0f, {share})"
            peaks += [f"const float top{i} = v_highest(highest{i});", f"const vf peak{i} = v_set1({peak});"]
            weights.append(f"const vf e{i} = {exponent}(v_load(row{i} + n) - peak{i});")
            shares += [f"const float total{i} = v_sum(sum{i});", f"shares[r + {i}] = {share};"]
        for i in each:
            put = f"vp_halves((uint16_t *)weight_pairs + (r + {i}) * {wide} + n, e{i});"
            weights += [put if self.paired else f"v_store(row{i} + n, e{i});", f"sum{i} += e{i};"]
        return [
            *lines,
            *turns_between("n", "first", "last", tops, lanes),
            *peaks,
            *turns_between("n", "first", "last", weights, lanes),
            *shares,
        ]

    def _means(self, rows: int) -> list[str]:
        """The values, each by its weight."""
        lanes, wide, padded = self.level.lanes, self.padded(self.keys), self.padded(self.columns)
        values, step = self.pointers[2], self.strides[2][0]
        if self.paired:
            left, right = (
                f"weight_pairs[{{}} * {wide // 2} + {{}}]",
                f"value_pairs + ({{}}) * {padded} + {{}}",
            )
        else:
            left, right = f"scores[{{}} * {wide} + {{}}]", f"{values} + ({{}}) * {step} + {{}}"
        span = None
        if self.skipping is not None:
            span = ("first / 2", "(last + 1) / 2") if self.paired else ("first", "last")
        product = Product(
            self.keys,
            self.level,
            left=left.format,
            right=right.format,
            start=lambda column: "v_set1(0.0f)",
            output=lambda row, column: f"y + {row} * {self.output_row} + {column}",
            epilogue=ex.apply("mul", ex.arg(0, "float32"), ex.arg(1, "float32")),
            extras=[Extra("shares", 1, 0)],
            ragged=not self.paired,
            paired=self.paired,
            rounded=self.paired,
            span=span,
        )
        stride = self.wide(rows, self.columns) * lanes
        whole = self.columns - self.columns % stride
        lines = []
        if whole:
            block = product.block(rows, "0", "c", [lanes] * (stride // lanes))
            lines += loop("c", whole, block, stride)
        if self.columns > whole:
            lines += product.block(rows, "0", str(whole), widths_of(self.columns - whole, lanes))
        return lines
