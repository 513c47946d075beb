"""Element-wise ops over views become views over element-wise ops, so that they meet their producers.

So channels stay last from one convolution to the next: what undoes the view ahead of it goes away with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grandopt.compiler.backends.native.form import Convolve, Graph, Map, Op, Permute, Reshape, Value
from grandopt.compiler.backends.native.passes.prune import prune
from grandopt.compiler.backends.native.passes.rewrite import rebuilt, redirect
from grandopt.signature import Array


def lift_views(graph: Graph) -> Graph:
    """The graph in which Map(Reshape or Permute(x), constants) is Reshape or Permute(Map(x, constants)).

    Likewise a Map of several that are a Permute of a convolution. Two Permutes in a row are one, or none.
    """
    graph = _joined(graph)
    while (lifted := _lift_one(graph) or _lift_joint(graph)) is not None:
        graph = _joined(lifted)
    return graph


def _joined(graph: Graph) -> Graph:
    """The graph in which no Permute reads another."""
    producers = graph.producers()
    ops: list[Op] = []
    replaced: dict[Value, Value] = {}
    for original in graph.ops:
        op = redirect(original, replaced)
        if isinstance(op, Permute) and isinstance(inner := producers.get(op.x), Permute):
            op = Permute((inner.x,), op.outputs, tuple(inner.axes[axis] for axis in op.axes))
            producers[op.output] = op
        if isinstance(op, Permute) and op.axes == tuple(range(len(op.axes))):
            replaced[op.output] = op.x
        else:
            ops.append(op)
    return prune(rebuilt(graph, ops, replaced))


def _lift_joint(graph: Graph) -> Graph | None:
    """The graph with one Map of several tensors ahead of the Permute that one of them comes through."""
    counts, producers = graph.use_counts(), graph.producers()
    for position, op in enumerate(graph.ops):
        if not isinstance(op, Map):
            continue
        variable = [value for value in op.inputs if value.data is None]
        if len(variable) < 2 or any(value.shape != op.output.shape for value in variable):
            continue
        views = [view for value in variable if isinstance(view := producers.get(value), Permute)]
        leading = [v for v in views if counts[v.output] == 1 and _convolved(v.x, producers)]
        if leading:
            ops = list(graph.ops)
            ops[position : position + 1] = _jointly(op, leading[0], producers)
            return prune(rebuilt(graph, ops, {}))
    return None


def _convolved(value: Value, producers: Mapping[Value, Op]) -> bool:
    """Whether the value is a convolution's result, but for element-wise ops."""
    op = producers.get(value)
    while isinstance(op, Map):
        same = [v for v in op.inputs if v.data is None and v.shape == value.shape]
        op = next((made for v in same if (made := producers.get(v)) is not None), None)
    return isinstance(op, Convolve)


def _jointly(op: Map, view: Permute, producers: Mapping[Value, Op]) -> list[Op]:
    back = tuple(sorted(range(len(view.axes)), key=lambda axis: view.axes[axis]))
    before: list[Op] = []
    inputs = []
    for value in op.inputs:
        made = producers.get(value)
        if value.data is not None:
            inputs.append(_constant_before(value, op.output.shape, view))
        elif isinstance(made, Permute) and made.axes == view.axes:
            inputs.append(made.x)
        else:
            turned = Value(f"{value.name}_{op.output.name}_turned", view.x.shape, value.dtype)
            before.append(Permute((value,), (turned,), back))
            inputs.append(turned)
    inner = Value(f"{op.output.name}_before", view.x.shape, op.output.dtype)
    return [*before, Map(tuple(inputs), (inner,), op.expression), Permute((inner,), op.outputs, view.axes)]


def _lift_one(graph: Graph) -> Graph | None:
    counts, producers = graph.use_counts(), graph.producers()
    for position, op in enumerate(graph.ops):
        if not isinstance(op, Map):
            continue
        variable = [value for value in op.inputs if value.data is None]
        if len(variable) != 1 or variable[0].shape != op.output.shape or counts[variable[0]] != 1:
            continue
        view = producers.get(variable[0])
        if not isinstance(view, (Reshape, Permute)) or view.x not in producers:
            continue
        ops = list(graph.ops)
        ops[position : position + 1] = _swapped(op, view)
        ops.remove(view)
        return rebuilt(graph, ops, {})
    return None


def _swapped(op: Map, view: Reshape | Permute) -> tuple[Op, Op]:
    source = view.x
    inputs = tuple(
        source if value is view.output else _constant_before(value, op.output.shape, view)
        for value in op.inputs
    )
    inner = Value(f"{op.output.name}_before", source.shape, op.output.dtype)
    outer = (
        Permute((inner,), op.outputs, view.axes)
        if isinstance(view, Permute)
        else Reshape((inner,), op.outputs)
    )
    return Map(inputs, (inner,), op.expression), outer


def _constant_before(value: Value, shape: tuple[int, ...], view: Reshape | Permute) -> Value:
    """The constant as it must be broadcast ahead of the view."""
    if value.elements == 1:
        data = value.constant.reshape(())
    else:
        full = np.broadcast_to(value.constant, shape)
        if isinstance(view, Permute):
            moved = full.transpose(np.argsort(view.axes))
        else:
            moved = full.reshape(view.x.shape)
        data = _compressed(moved)
    return Value(f"{value.name}_{view.output.name}", data.shape, value.dtype, data)


def _compressed(data: Array) -> Array:
    """Axes along which nothing changes get size 1."""
    for axis in range(data.ndim):
        first = data.take([0], axis)
        if data.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, data.shape), data, equal_nan=True):
            data = first
    return np.array(data, order="C")
