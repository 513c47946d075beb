"""Which products read what a ReLU gave: half of such numbers are zeros, as a rule more, and none is below."""

from __future__ import annotations

from grandopt.compiler.backends.native.form import (
    Graph,
    Linear,
    Map,
    Op,
    Quantize,
    QuantizedLinear,
    Reshape,
    Value,
    WithEpilogue,
)

FEWEST_WEIGHTS = 8192
"""Fewer weights are read sooner than zeros are found."""


def rectified(graph: Graph) -> frozenset[Op]:
    """The products with constant weights, codes among them, whose rows were rectified."""
    producers = graph.producers()
    return frozenset(
        op
        for op in graph.ops
        if isinstance(op, (Linear, QuantizedLinear)) and is_rectified(op.inputs[0], producers)
    )


def spared_weights(graph: Graph) -> int:
    """How many weights a call may do without: those of inputs of a single row that turn out to be zero."""
    products = [op for op in rectified(graph) if isinstance(op, (Linear, QuantizedLinear))]
    alone = [op.weight for op in products if op.output.elements == op.weight.shape[0]]
    return sum(weight.elements for weight in alone if weight.elements >= FEWEST_WEIGHTS)


def is_rectified(value: Value, producers: dict[Value, Op]) -> bool:
    """Whether a ReLU gave all numbers of a value, or, of codes, those that became them."""
    op = producers.get(value)
    while isinstance(op, Reshape) or (isinstance(op, Quantize) and not op.scaling):
        op = producers.get(op.x)
    expression = None
    if isinstance(op, Map):
        expression = op.expression
    elif isinstance(op, WithEpilogue):
        expression = op.epilogue
    return expression is not None and expression.op == "relu"
