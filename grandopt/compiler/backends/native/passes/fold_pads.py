"""Zeros written around a tensor ahead of a convolution are its own border, whose taps are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Convolve, Graph, Op, Pad, Permute, Slice, Value
from grandopt.compiler.backends.native.passes.prune import prune


def fold_pads(graph: Graph) -> Graph:
    """The graph in which Convolve(Pad(x)) is Convolve(x), where the Pad puts zeros along spatial axes.

    Permutes, and slices of other axes, may lie between them.
    """
    producers = graph.producers()
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, Convolve):
            op, views = _folded(op, producers)
            ops += views
        ops.append(op)
    return prune(replace(graph, ops=tuple(ops)))  # a Pad left over would read all of its input


def _folded(op: Convolve, producers: Mapping[Value, Op]) -> tuple[Convolve, list[Op]]:
    """The convolution without the Pads ahead of it, and the views that it then reads through."""
    views: list[Op] = []
    known = dict(producers)
    while True:
        build = Builder()
        x, before = _unpadded(op.x, known, build)
        if x is op.x or (x.shape[0], x.shape[-1]) != (op.x.shape[0], op.x.shape[-1]):
            return op, views
        border = tuple(n + more for n, more in zip(op.before, before[1:-1], strict=True))
        op = replace(op, inputs=(x, *op.inputs[1:]), before=border)
        views += build.ops
        known.update((view.output, view) for view in build.ops)


def _unpadded(value: Value, producers: Mapping[Value, Op], build: Builder) -> tuple[Value, tuple[int, ...]]:
    """The value without the border that a Pad gave it, and the zeros that lay ahead of each axis; the value
    itself where there is none."""
    whole = value, (0,) * len(value.shape)
    match producers.get(value):
        case Pad() as pad if pad.fill == 0:
            return pad.x, pad.before
        case Permute() as view:
            x, before = _unpadded(view.x, producers, build)
            if x is not view.x:
                return build.permute(x, view.axes), tuple(before[axis] for axis in view.axes)
        case Slice() as view:
            x, before = _unpadded(view.x, producers, build)
            if x is not view.x and x.shape[view.axis] == view.x.shape[view.axis]:
                size = view.output.shape[view.axis]
                return build.slice(x, view.axis, view.start, size, view.step), before
    return whole
