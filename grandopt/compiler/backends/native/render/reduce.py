"""Reductions: along the lanes, across them, or one element at a time, as the strides allow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from grandopt.compiler.backends.native.form import Reduce, ReduceKind
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import C_TYPES, indent, literal, loop, offset
from grandopt.compiler.backends.native.strides import collapse

VECTOR = {"sum": "({0} + {1})", "mean": "({0} + {1})", "max": "v_max({0}, {1})", "min": "v_min({0}, {1})"}
SCALAR = {
    "sum": "{0} + {1}",
    "mean": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "s_max({0}, {1})",
    "min": "s_min({0}, {1})",
    "any": "{0} | {1}",
    "all": "{0} & {1}",
}
START: dict[ReduceKind, float] = {
    "sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "any": 0, "all": 1,
}  # fmt: skip


SPLITS = 4
"""Accumulators of a result: none waits for another, and shorter sums round less."""


@dataclass(frozen=True)
class _Walk:
    """The loops of a reduction: over what stays (x and output strides) and what is reduced (x strides)."""

    op: Reduce
    kept: list[int]
    x_kept: list[int]
    y_kept: list[int]
    gone: list[int]
    x_gone: list[int]

    @property
    def count(self) -> int:
        return math.prod(self.gone)

    def outer(self, body: list[str], loops: int) -> list[str]:
        """The first `loops` loops over what stays, around the body."""
        for axis in reversed(range(loops)):
            body = loop(f"i{axis}", self.kept[axis], body)
        return body

    def inner(self, body: list[str], loops: int) -> list[str]:
        """The first `loops` loops over what is reduced, around the body."""
        for axis in reversed(range(loops)):
            body = loop(f"r{axis}", self.gone[axis], body)
        return body

    def source(self, kept: int, gone: int) -> str:
        """Offset in x of the first `kept` and `gone` loop variables."""
        terms = [(f"i{axis}", self.x_kept[axis]) for axis in range(kept)]
        return offset([*terms, *((f"r{axis}", self.x_gone[axis]) for axis in range(gone))])

    def target(self, kept: int) -> str:
        return offset([(f"i{axis}", self.y_kept[axis]) for axis in range(kept)])


def reduce_loops(op: Reduce, x: RenderedOperand, output: RenderedOperand, lanes: int) -> list[str]:
    """output = the reduction of x over `op.axes`; see `Reduce`."""
    axes = {axis + 1 for axis in op.axes}  # the samples of the tile are axis 0
    kept, (x_kept, y_kept) = collapse(output.shape, [x.strides, output.strides])
    shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    gone, (x_gone,) = collapse(shape, [x.strides])
    walk = _Walk(op, kept, x_kept, y_kept, gone, x_gone)
    if x.dtype == "float32" and op.kind in VECTOR:
        if kept and x_kept[-1] == 1 and y_kept[-1] == 1 and kept[-1] >= lanes // 2:
            return _across(walk, x, output, lanes)
        if gone and x_gone[-1] == 1 and gone[-1] >= lanes:
            return _along(walk, x, output, lanes)
    return _single(walk, x, output)


def _across(walk: _Walk, x: RenderedOperand, output: RenderedOperand, lanes: int) -> list[str]:
    """Lanes hold neighbouring results."""
    last, around = len(walk.kept) - 1, len(walk.gone) - 1
    size, kind = walk.kept[last], walk.op.kind
    turns = walk.gone[around] if walk.gone else 1
    splits = min(SPLITS, turns)

    def body(position: str, count: int) -> list[str]:
        def update(turn: str, split: int) -> str:
            step = f"({turn}) * {walk.x_gone[around]}" if walk.gone else "0"
            pointer = f"{x.name} + {walk.source(last, max(around, 0))} + {step} + {position}"
            load = f"v_load({pointer})" if count == lanes else f"v_load_n({pointer}, {count})"
            return f"acc{split} = {VECTOR[kind].format(f'acc{split}', load)};"

        whole = turns - turns % splits
        row = loop("r", whole, [update(f"r + {s}", s) for s in range(splits)], splits)
        row += [update(str(whole + s), s) for s in range(turns - whole)]
        result = "acc0"
        for split in range(1, splits):
            result = VECTOR[kind].format(result, f"acc{split}")
        if kind == "mean":
            result = f"{result} * v_set1({literal(1.0 / walk.count, 'float32')})"
        start = literal(START[kind], "float32")
        return [
            *(f"vf acc{s} = v_set1({start});" for s in range(splits)),
            *walk.inner(row, max(around, 0)),
            store(f"{output.name} + {walk.target(last)} + {position}", result, count, lanes),
        ]

    whole = size - size % lanes
    lines = loop("i", whole, body("i", lanes), lanes) if whole else []
    if size > whole:
        lines += ["{", *indent(body(str(whole), size - whole)), "}"]
    return walk.outer(lines, last)


def _along(walk: _Walk, x: RenderedOperand, output: RenderedOperand, lanes: int) -> list[str]:
    """Lanes hold elements of one result, combined at the end."""
    kept, last = len(walk.kept), len(walk.gone) - 1
    size, kind = walk.gone[last], walk.op.kind
    start = literal(START[kind], "float32")

    def update(position: str, count: int) -> list[str]:
        pointer = f"{x.name} + {walk.source(kept, last)} + {position}"
        load = (
            f"v_load({pointer})"
            if count == lanes
            else f"v_fill(v_load_n({pointer}, {count}), {count}, {start})"
        )
        return [f"acc = {VECTOR[kind].format('acc', load)};"]

    whole = size - size % lanes
    row = loop("i", whole, update("i", lanes), lanes) if whole else []
    if size > whole:
        row += ["{", *indent(update(str(whole), size - whole)), "}"]
    lines = [f"vf acc = v_set1({start});", *walk.inner(row, last)]
    if kind in ("sum", "mean"):
        lines.append("float result = v_sum(acc);")
    else:
        combine = SCALAR[kind].format("result", "lane[j]")
        lines += [f"float lane[{lanes}], result = {start};", "v_store(lane, acc);"]
        lines += loop("j", lanes, [f"result = {combine};"])
    share = f" * {literal(1.0 / walk.count, 'float32')}" if kind == "mean" else ""
    lines.append(f"{output.name}[{walk.target(kept)}] = result{share};")
    return walk.outer(["{", *indent(lines), "}"], kept)


def _single(walk: _Walk, x: RenderedOperand, output: RenderedOperand) -> list[str]:
    """One element after another; float32 sums are kept in float64."""
    kind, kept = walk.op.kind, len(walk.kept)
    float_sum = kind in ("sum", "mean", "prod") and x.dtype == "float32"
    ctype = "double" if float_sum else C_TYPES[x.dtype]
    element = f"{x.name}[{walk.source(kept, len(walk.gone))}]"
    first = f"{x.name}[{walk.source(kept, 0)}]"
    start = first if kind in ("max", "min") else literal(START[kind], x.dtype)
    if kind in ("any", "all"):
        element = f"({element} != 0)"
    share = f" / {walk.count}" if kind == "mean" else ""
    lines = [
        f"{ctype} acc = {start};",
        *walk.inner([f"acc = {SCALAR[kind].format('acc', element)};"], len(walk.gone)),
        f"{output.name}[{walk.target(kept)}] = ({C_TYPES[output.dtype]})(acc{share});",
    ]
    return walk.outer(["{", *indent(lines), "}"], kept)
