"""Replacing values throughout a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from grandopt.compiler.backends.native.form import Graph, Op, Value


def resolve(value: Value, replaced: Mapping[Value, Value]) -> Value:
    """The value that stands for `value` after all replacements."""
    while value in replaced:
        value = replaced[value]
    return value


def redirect(op: Op, replaced: Mapping[Value, Value]) -> Op:
    """The op with replaced inputs, or the op itself if none is."""
    inputs = tuple(resolve(value, replaced) for value in op.inputs)
    return op if inputs == op.inputs else replace(op, inputs=inputs)


def rebuilt(graph: Graph, ops: Sequence[Op], replaced: Mapping[Value, Value]) -> Graph:
    """The graph with `ops`, every use of a replaced value redirected."""
    return replace(
        graph,
        ops=tuple(redirect(op, replaced) for op in ops),
        outputs=tuple(resolve(value, replaced) for value in graph.outputs),
    )
