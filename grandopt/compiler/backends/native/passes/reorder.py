"""A product over a flattened tensor takes its elements in the order in which they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grandopt.compiler.backends.native.form import Graph, Linear, Op, Permute, Reshape, Value


def reorder(graph: Graph) -> Graph:
    """The graph in which Linear(Reshape(Permute(x))) is Linear(Reshape(x)), its weights in another order.

    Where nothing but the product reads the flattened tensor, of which each row is all of x.
    """
    counts, producers = graph.use_counts(), graph.producers()
    ops: list[Op] = []
    for op in graph.ops:
        flat = producers.get(op.x) if isinstance(op, Linear) else None
        turned = producers.get(flat.x) if isinstance(flat, Reshape) else None
        if (
            isinstance(op, Linear)
            and isinstance(flat, Reshape)
            and isinstance(turned, Permute)
            and turned.x in producers  # an input of the graph is as it is
            and counts[flat.output] == 1
            and op.x.shape[-1] == turned.x.elements
        ):
            ops += _in_order(op, flat, turned)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops))


def _in_order(op: Linear, flat: Reshape, turned: Permute) -> tuple[Op, Op]:
    weight = op.weight.constant.reshape(-1, *turned.output.shape)
    back = np.argsort(turned.axes)
    moved = np.ascontiguousarray(weight.transpose(0, *(back + 1))).reshape(op.weight.shape)
    constant = Value(f"{op.weight.name}_{op.output.name}", op.weight.shape, op.weight.dtype, moved)
    rows = Value(f"{flat.output.name}_in_order", flat.output.shape, flat.output.dtype)
    inputs = (rows, constant, op.bias, *op.extras)
    return Reshape((turned.x,), (rows,)), replace(op, inputs=inputs)
