"""Convolutions as products of copied patches, for weights of reduced precision, as codes or in tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Convolve, Graph, Linear, Op, Permute, Value
from grandopt.compiler.backends.native.passes.quantize import admits


def unfold(graph: Graph, exact: frozenset[Op]) -> Graph:
    """The graph in which convolutions that reduced weights could pay for are products; none of `exact`."""
    producers = graph.producers()
    ops: list[Op] = []
    for op in graph.ops:
        whole = isinstance(op, Convolve) and not op.depthwise and op not in exact
        ops += _product(op, producers) if whole and isinstance(op, Convolve) else [op]
    return replace(graph, ops=tuple(ops))


def _product(op: Convolve, producers: Mapping[Value, Op]) -> list[Op]:
    """A row of 8-bit codes has one scale, so that patches are quantized one by one."""
    weight = op.weight.constant
    inside = tuple(weight.shape[1:])
    rank = len(op.strides)
    # Rows of an input with the channels first are runs of the kernel's last axis, of others the channels are.
    first = isinstance(view := producers.get(op.x), Permute) and view.x not in producers
    flat = (weight.transpose(0, rank + 1, *range(1, rank + 1)) if first else weight).reshape(len(weight), -1)
    if not admits(flat):
        return [op]
    build = Builder()
    lead = build.permute(op.x, (0, rank + 1, *range(1, rank + 1)))
    reaches = [op.reach(axis) for axis in range(rank)]
    ahead = [-start for start, _ in reaches]
    behind = [end - size for (_, end), size in zip(reaches, op.x.shape[1:-1], strict=True)]
    windows = build.window(
        build.border(lead, ahead, behind, 0.0), weight.shape[1:-1], op.strides, op.dilations
    )
    positions, taps = range(2, 2 + rank), range(2 + rank, 2 + 2 * rank)
    patches = build.permute(windows, (0, *positions, *((1, *taps) if first else (*taps, 1))))
    rows = build.reshape(patches, (*op.output.shape[:-1], math.prod(inside)))
    product = Linear((rows, build.constant(flat), op.bias, *op.extras), op.outputs, op.epilogue)
    return [*build.ops, product]
