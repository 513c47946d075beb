"""Zeros around what a convolution reads, where leaving out the taps beyond it would be too many cases."""

from __future__ import annotations

import math
from dataclasses import replace

from grandopt.compiler.backends.native.form import Convolve, Graph, Op, Pad, Value

MOST_CASES = 8
"""Kinds of positions, by the taps that they have within the input, for each of which there is a product."""


def borders(graph: Graph) -> Graph:
    """The graph in which convolutions of too many cases read a Pad, which their producer can write into."""
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Convolve) and not _few(op):
            pad, op = _padded(op)
            ops.append(pad)
        ops.append(op)
    return replace(graph, ops=tuple(ops))


def _few(op: Convolve) -> bool:
    cases = [_cases(op, axis) for axis in range(len(op.strides))]
    return all(taps for axis in cases for taps in axis) and math.prod(map(len, cases)) <= MOST_CASES


def _cases(op: Convolve, axis: int) -> set[tuple[int, ...]]:
    """The sets of taps within the input that positions along a spatial axis have."""
    size, taps = op.x.shape[1 + axis], op.weight.shape[1 + axis]
    starts = (p * op.strides[axis] - op.before[axis] for p in range(op.output.shape[1 + axis]))
    return {
        tuple(tap for tap in range(taps) if 0 <= start + tap * op.dilations[axis] < size) for start in starts
    }


def _padded(op: Convolve) -> tuple[Pad, Convolve]:
    axes = range(len(op.strides))
    reaches = [op.reach(axis) for axis in axes]
    ahead = [max(0, -first) for first, _ in reaches]
    behind = [max(0, end - size) for (_, end), size in zip(reaches, op.x.shape[1:-1], strict=True)]
    spatial = [n + a + b for n, a, b in zip(op.x.shape[1:-1], ahead, behind, strict=True)]
    wide = Value(f"{op.output.name}_wide", (op.x.shape[0], *spatial, op.x.shape[-1]), op.x.dtype)
    before = tuple(n - a for n, a in zip(op.before, ahead, strict=True))
    return (
        Pad((op.x,), (wide,), (0, *ahead, 0), 0.0),
        replace(op, inputs=(wide, *op.inputs[1:]), before=before),
    )
