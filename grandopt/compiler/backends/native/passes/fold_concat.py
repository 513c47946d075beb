"""Products ahead of a concatenation into the product behind it, as of attention heads that are merged twice.

W·[A₁·x₁ + b₁, A₂·x₂ + b₂, …] + c is one product of [x₁, x₂, …]. Its weights are computed in float64 and
rounded once, as in `fold_affine`.
"""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.form import Concat, Graph, Linear, Op, Value
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
        join = producers.get(op.inputs[0]) if isinstance(op, Linear) else None
        if not isinstance(op, Linear) or not isinstance(join, Concat) or counts[join.output] != 1:
            continue
        if join.axis != len(join.output.shape) - 1:
            continue
        parts = [_part(value, producers.get(value), counts[value], op) for value in join.inputs]
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
    outputs, inputs = producer.inputs[1].shape
    count = op.inputs[1].shape[0]
    return producer if count * inputs <= count * outputs + outputs * inputs else None


def _joined(op: Linear, join: Concat, parts: list[Linear | None]) -> tuple[Concat, Linear]:
    weight, bias = _constants(op)
    columns: list[Array] = []
    start = 0
    for value, part in zip(join.inputs, parts, strict=True):
        own = weight[:, start : start + value.shape[-1]]
        start += value.shape[-1]
        if part is not None:
            inner, shift = _constants(part)
            bias = bias + own @ shift
            own = own @ inner
        columns.append(own)
    sources = tuple(
        value if part is None else part.inputs[0] for value, part in zip(join.inputs, parts, strict=True)
    )
    merged = np.concatenate(columns, axis=1)
    name = op.output.name
    joined = Value(f"{name}_joined", (*join.output.shape[:-1], merged.shape[1]), "float32")
    constants = [
        Value(f"{name}_joined_{part}", array.shape, "float32", array.astype(np.float32))
        for part, array in (("weight", merged), ("bias", bias))
    ]
    return Concat(sources, (joined,), join.axis), Linear((joined, *constants), op.outputs)


def _replace(old: Op, join: Concat, op: Linear, new: tuple[Concat, Linear]) -> tuple[Op, ...]:
    if old is join:
        return ()
    return new if old is op else (old,)


def _constants(op: Linear) -> tuple[Array, Array]:
    weight, bias = op.inputs[1].data, op.inputs[2].data
    assert weight is not None
    assert bias is not None
    return weight.astype(np.float64), bias.astype(np.float64)
