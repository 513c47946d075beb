"""Which products read raw observations: those that an input reaches without passing another product."""

from __future__ import annotations

from grandopt.compiler.backends.native.form import (
    Attention,
    Convolve,
    Graph,
    Linear,
    MatMul,
    Op,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Value,
    WithEpilogue,
)


def observing(graph: Graph) -> frozenset[Op]:
    """The products and recurrences of the graph that read raw observations."""
    raw = raw_values(graph)
    return frozenset(
        op
        for op in graph.ops
        if (multiplied := _multiplied(op)) is not None and any(value in raw for value in multiplied)
    )


def raw_values(graph: Graph) -> frozenset[Value]:
    """The inputs, and what is computed of them without a product."""
    raw = set(graph.inputs)
    for op in graph.ops:
        multiplied = _multiplied(op)
        # What a product multiplies ends there; what its epilogue adds, such as a residual, does not.
        passing = op.inputs if multiplied is None else _added(op)
        if any(value in raw for value in passing):
            raw.update(op.outputs)
    return frozenset(raw)


def _multiplied(op: Op) -> tuple[Value, ...] | None:
    """The computed operands that a product multiplies; None for what is no product."""
    match op:
        case Linear() | Convolve():
            return (op.x,)
        case MatMul():
            return op.a, op.b
        case Attention():
            return op.query, op.keys, op.values
        case QuantizedLinear():
            return op.codes, op.scales
        case Recurrent() | QuantizedRecurrent():
            return op.gates, *op.initial
        case _:
            return None


def _added(product: Op) -> tuple[Value, ...]:
    return product.extras if isinstance(product, WithEpilogue) else ()
