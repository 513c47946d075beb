"""Element-wise ops into element-wise ops: one loop, no intermediate tensor."""

from __future__ import annotations

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Graph, Map, Op, Value

LIMIT = 192
"""Largest expression, in nodes: past this the C compiler runs out of registers and fusing no longer pays."""


def fuse_maps(graph: Graph) -> Graph:
    """The graph in which a Map that only one other Map of its shape reads is computed inside that one."""
    ops: list[Op] = list(graph.ops)
    position = len(ops) - 1
    while position >= 0:
        op = ops[position]
        if isinstance(op, Map) and (victim := _candidate(op, ops[:position], graph.outputs, ops)):
            ops[position] = merged(op, victim)
            ops.remove(victim)
        position -= 1  # after a merge: the merged op moved one place ahead and is looked at again
    return Graph(graph.name, graph.inputs, graph.outputs, tuple(ops))


def _candidate(op: Map, earlier: list[Op], outputs: tuple[Value, ...], ops: list[Op]) -> Map | None:
    for producer in earlier:
        if not isinstance(producer, Map) or producer.output not in op.inputs:
            continue
        if producer.output in outputs or producer.output.shape != op.output.shape:
            continue
        others = any(producer.output in other.inputs for other in ops if other is not op)
        if not others and merged(op, producer).expression.cost <= LIMIT:
            return producer
    return None


def merged(op: Map, producer: Map) -> Map:
    """`op` with the value of `producer` computed in place."""
    operands: list[Value] = []

    def place(value: Value) -> Expression:
        if value not in operands:
            operands.append(value)
        return ex.arg(operands.index(value), value.dtype)

    inner = producer.expression.substitute([place(value) for value in producer.inputs])
    leaves = [inner if value is producer.output else place(value) for value in op.inputs]
    expression = op.expression.substitute(leaves)
    return Map(tuple(operands), op.outputs, expression)
