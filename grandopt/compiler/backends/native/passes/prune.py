"""Dead code: ops that no output depends on."""

from __future__ import annotations

from dataclasses import replace

from grandopt.compiler.backends.native.form import Graph, Op


def prune(graph: Graph) -> Graph:
    """The graph without the ops whose results are never used."""
    needed = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if any(value in needed for value in op.outputs):
            kept.append(op)
            needed.update(op.inputs)
    return replace(graph, ops=tuple(reversed(kept)))
