"""Element-wise ops into the product or the normalisation before them, while the result is in registers."""

from __future__ import annotations

from dataclasses import replace

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.form import Convolve, Graph, Linear, Map, MatMul, Normalize, Op, Value


def fuse_epilogues(graph: Graph) -> Graph:
    """The graph in which a float32 Map that alone reads a producer is its epilogue.

    The Map's other operands must be computed before the producer; the producer then takes the Map's place.
    """
    counts = graph.use_counts()
    producers = graph.producers()
    fused: dict[Op, Op] = {}
    dropped: set[Op] = set()
    for op in graph.ops:
        if not isinstance(op, Map):
            continue
        producer = _producer(op, producers, counts, dropped)
        if producer is not None:
            fused[op] = _with_epilogue(producer, op)
            dropped.add(producer)
    ops = tuple(fused.get(op, op) for op in graph.ops if op not in dropped)
    return replace(graph, ops=ops)


def _producer(
    op: Map, producers: dict[Value, Op], counts: dict[Value, int], dropped: set[Op]
) -> Linear | Convolve | MatMul | Normalize | None:
    dtypes = {value.dtype for value in (*op.inputs, op.output)}
    if dtypes != {"float32"} or not op.expression.vectorizable:
        return None
    for value in op.inputs:
        producer = producers.get(value)
        if not isinstance(producer, (Linear, Convolve, MatMul, Normalize)) or producer in dropped:
            continue
        single = counts[value] == 1 and op.inputs.count(value) == 1
        if single and producer.epilogue is None and value.shape == op.output.shape:
            return producer
    return None


def _with_epilogue(producer: Linear | Convolve | MatMul | Normalize, op: Map) -> Op:
    extras = [value for value in op.inputs if value is not producer.output]
    order = [producer.output, *extras]
    expression = op.expression.substitute([ex.arg(order.index(v), v.dtype) for v in op.inputs])
    inputs = (*producer.inputs, *extras)
    return replace(producer, inputs=inputs, outputs=op.outputs, epilogue=expression)
