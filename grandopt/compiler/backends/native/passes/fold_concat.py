"""Products ahead of a concatenation into the product behind it, as of attention heads that are merged twice.

W·[A₁·x₁ + b₁, A₂·x₂ + b₂, …] + c is one product of [x₁, x₂, …]. Its weights are computed in float64 and
rounded once, as in `fold_affine`.
"""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.form import Concat, Graph, Linear, Op, Value
from grandopt.compiler.backends.native.passes.exact import exact_weights, product
from grandopt.compiler.backends.native.passes.rewrite import rebuilt
from grandopt.signature import Array


def fold_concat(graph: Graph) -> Graph:
    """The graph in which Linear(Concat(Linear(x)…)) is Linear(Concat(x…)) where that is not more work."""
    while (folded := _fold_one(graph)) is not None:
        graph = folded
    return graph


def _fold_one(graph: Graph) -> Graph | None:
    counts, producers = graph.use_counts(), graph.producers()
    for op in graph.ops:
        if not isinstance(op, Linear):
            continue
        join = producers.get(op.x)
        if not isinstance(join, Concat) or counts[join.output] != 1:
            continue
        if join.axis != len(join.output.shape) - 1:
            continue
        parts = [_part(value, producers.get(value), counts[value], op) for value in join.parts]
        gone = {part for part in parts if part is not None}
        if gone:
            new = _joined(op, join, parts)
            ops = [n for old in graph.ops if old not in gone for n in _replace(old, join, op, new)]
            return rebuilt(graph, ops, {})
    return None


def _part(value: Value, producer: Op | None, uses: int, op: Linear) -> Linear | None:
    """The product behind a part of the concatenation, if it folds into `op` without more work."""
    if not isinstance(producer, Linear) or producer.epilogue is not None or uses != 1:
        return None
    outputs, inputs = producer.weight.shape
    count = op.weight.shape[0]
    return producer if count * inputs <= count * outputs + outputs * inputs else None


def _joined(op: Linear, join: Concat, parts: list[Linear | None]) -> tuple[Concat, Linear]:
    weight, bias = exact_weights(op)
    columns: list[Array] = []
    start = 0
    for value, part in zip(join.parts, parts, strict=True):
        own = weight[:, start : start + value.shape[-1]]
        start += value.shape[-1]
        if part is not None:
            inner, shift = exact_weights(part)
            bias = bias + own @ shift
            own = own @ inner
        columns.append(own)
    sources = tuple(value if part is None else part.x for value, part in zip(join.parts, parts, strict=True))
    merged = np.concatenate(columns, axis=1)
    name = f"{op.output.name}_joined"
    joined = Value(name, (*join.output.shape[:-1], merged.shape[1]), "float32")
    return Concat(sources, (joined,), join.axis), product(joined, merged, bias, op.outputs, name)


def _replace(old: Op, join: Concat, op: Linear, new: tuple[Concat, Linear]) -> tuple[Op, ...]:
    if old is join:
        return ()
    return new if old is op else (old,)
