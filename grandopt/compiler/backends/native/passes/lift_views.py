"""Element-wise ops over views become views over element-wise ops, so that they meet their producers."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.form import Graph, Map, Op, Permute, Reshape, Value
from grandopt.compiler.backends.native.passes.rewrite import rebuilt
from grandopt.signature import Array


def lift_views(graph: Graph) -> Graph:
    """The graph in which Map(Reshape or Permute(x), constants) is Reshape or Permute(Map(x, constants))."""
    while (lifted := _lift_one(graph)) is not None:
        graph = lifted
    return graph


def _lift_one(graph: Graph) -> Graph | None:
    counts, producers = graph.use_counts(), graph.producers()
    for position, op in enumerate(graph.ops):
        if not isinstance(op, Map):
            continue
        variable = [value for value in op.inputs if value.data is None]
        if len(variable) != 1 or variable[0].shape != op.output.shape or counts[variable[0]] != 1:
            continue
        view = producers.get(variable[0])
        if not isinstance(view, (Reshape, Permute)) or view.inputs[0] not in producers:
            continue
        ops = list(graph.ops)
        ops[position : position + 1] = _swapped(op, view)
        ops.remove(view)
        return rebuilt(graph, ops, {})
    return None


def _swapped(op: Map, view: Reshape | Permute) -> tuple[Op, Op]:
    source = view.inputs[0]
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
    assert value.data is not None
    if value.elements == 1:
        data = value.data.reshape(())
    else:
        full = np.broadcast_to(value.data, shape)
        if isinstance(view, Permute):
            moved = full.transpose(np.argsort(view.axes))
        else:
            moved = full.reshape(view.inputs[0].shape)
        data = _compressed(moved)
    return Value(f"{value.name}_{view.output.name}", data.shape, value.dtype, data)


def _compressed(data: Array) -> Array:
    """Axes along which nothing changes get size 1."""
    for axis in range(data.ndim):
        first = data.take([0], axis)
        if data.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, data.shape), data, equal_nan=True):
            data = first
    return np.array(data, order="C")
