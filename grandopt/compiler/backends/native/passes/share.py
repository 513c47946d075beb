"""Common subexpressions: of two ops that compute the same, one stays."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields

from grandopt.compiler.backends.native.form import Graph, Op, Value
from grandopt.compiler.backends.native.passes.rewrite import rebuilt, redirect


def share(graph: Graph) -> Graph:
    """The graph in which no two ops have the same class, inputs, attributes and output shapes."""
    first: dict[Hashable, Op] = {}
    replaced: dict[Value, Value] = {}
    kept: list[Op] = []
    for original in graph.ops:
        op = redirect(original, replaced)
        same = first.setdefault(_key(op), op)
        if same is op:
            kept.append(op)
        else:
            replaced.update(zip(op.outputs, same.outputs, strict=True))
    return rebuilt(graph, kept, replaced)


def _key(op: Op) -> Hashable:
    attributes = tuple(getattr(op, f.name) for f in fields(op) if f.name not in ("inputs", "outputs"))
    return type(op), op.inputs, tuple((v.shape, v.dtype) for v in op.outputs), attributes
