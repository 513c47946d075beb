"""A product, the soft maximum of it, and the product with that become one op."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import (
    Attention,
    Expand,
    Graph,
    Map,
    MatMul,
    Op,
    Reduce,
    Reshape,
    Softmax,
    Value,
)
from grandopt.compiler.backends.native.passes.prune import prune


def attend(graph: Graph) -> Graph:
    """The graph in which MatMul(Softmax(f(MatMul(query, keys), extras…)), values) is Attention.

    Between them there may be element-wise ops on the scores, reshapes that keep the last two axes, and what
    the translator of attention puts behind the soft maximum: zeros for rows that admit nothing.
    """
    producers, counts = graph.producers(), graph.use_counts()
    ops: list[Op] = []
    for op in graph.ops:
        fused = _Pattern(producers, counts).fused(op) if isinstance(op, MatMul) else None
        ops += fused or [op]
    return prune(replace(graph, ops=tuple(ops)))


@dataclass(frozen=True)
class _Scores:
    """epilogue(product, extras…), where `product` is the query times the keys."""

    product: MatMul
    epilogue: Expression
    extras: tuple[Value, ...]


class _Pattern:
    """What is found behind one product, and the views and casts that it takes to make one op of it."""

    def __init__(self, producers: Mapping[Value, Op], counts: Mapping[Value, int]) -> None:
        self._producers, self._counts = producers, counts
        self._made: list[Op] = []

    def fused(self, outer: MatMul) -> list[Op] | None:
        """The ops that take the place of the product with the values, if it is one."""
        weights = self._producer(outer.a)
        while isinstance(weights, Reshape) and _keeps_matrices(weights):
            weights = self._producer(weights.x)
        soft = self._admitted(weights) or weights
        if not isinstance(soft, Softmax) or soft.log:
            return None
        admitted = soft is not weights
        scores = self._scores(soft.x, 2 if admitted else 1)
        if scores is None or not scores.epilogue.vectorizable:
            return None
        before, lead = scores.product.output.shape[:-2], outer.a.shape[:-2]
        query, keys, *extras = (
            self._under(value, before, lead) for value in (scores.product.a, scores.product.b, *scores.extras)
        )
        epilogue = None if scores.epilogue.op == "arg" else scores.epilogue
        output = outer.output
        if outer.epilogue is not None:
            output = Value(f"{output.name}_mixed", output.shape, output.dtype)
        op = Attention((query, keys, outer.b, *extras), (output,), epilogue, admitted)
        behind = [] if outer.epilogue is None else [_after(outer, output)]
        return [*self._made, op, *behind]

    def _producer(self, value: Value) -> Op | None:
        """What computes the value, if nothing else reads it."""
        return self._producers.get(value) if self._counts[value] == 1 else None

    def _admitted(self, op: Op | None) -> Op | None:
        """The soft maximum in `where(max(scores) == -inf, 0, softmax(scores))`."""
        if not isinstance(op, Map) or len(op.operands) != 2:
            return None
        nothing, soft = (self._producer(value) for value in op.operands)
        chosen = ex.apply("where", ex.arg(0, "bool"), ex.const(0.0, "float32"), ex.arg(1, "float32"))
        if not isinstance(soft, Softmax) or not isinstance(nothing, Map) or op.expression != chosen:
            return None
        lowest = ex.apply("eq", ex.arg(0, "float32"), ex.const(-math.inf, "float32"))
        top = self._producer(nothing.operands[0]) if nothing.operands else None
        if not isinstance(top, Reduce) or top.x is not soft.x or nothing.expression != lowest:
            return None
        return soft if top.kind == "max" and top.axes == (len(soft.x.shape) - 1,) else None

    def _scores(self, value: Value, uses: int = 1) -> _Scores | None:
        """The value, which is read so often, as scores."""
        op = self._producers.get(value)
        if self._counts[value] != uses:
            return None
        if isinstance(op, MatMul):
            return _Scores(op, op.epilogue or ex.arg(0, "float32"), op.extras)
        if isinstance(op, Reshape) and _keeps_matrices(op) and (found := self._scores(op.x)):
            return self._reshaped(found, op)
        if isinstance(op, Map) and op.output.dtype == "float32":
            for position, operand in enumerate(op.operands):
                if operand.shape == value.shape and (found := self._scores(operand)):
                    return self._mapped(found, op, position)
        return None

    def _reshaped(self, scores: _Scores, view: Reshape) -> _Scores:
        """As they are under the leading axes of the view."""
        lead, product = view.output.shape[:-2], scores.product
        operands = product.a, product.b, *scores.extras
        a, b, *extras = (self._under(value, view.x.shape[:-2], lead) for value in operands)
        moved = MatMul((a, b), (Value(f"{view.output.name}_scores", view.output.shape, "float32"),))
        return _Scores(moved, scores.epilogue, tuple(extras))

    def _mapped(self, scores: _Scores, op: Map, position: int) -> _Scores:
        """Followed by the op, of which the operand at `position` is the scores."""
        extras, leaves = list(scores.extras), []
        for place, value in enumerate(op.operands):
            if place == position:
                leaves.append(scores.epilogue)
                continue
            leaf = ex.arg(len(extras) + 1, "float32")
            extras.append(self._float(value))
            if value.dtype == "bool":
                leaf = ex.apply("ne", leaf, ex.const(0.0, "float32"))
            leaves.append(leaf)
        return _Scores(scores.product, op.expression.substitute(leaves), tuple(extras))

    def _float(self, value: Value) -> Value:
        if value.dtype == "float32":
            return value
        if value.data is not None:
            return Value(f"{value.name}_float", value.shape, "float32", value.data.astype(np.float32))
        return self._add(Map, value, value.shape, ex.cast(ex.arg(0, value.dtype), "float32"), dtype="float32")

    def _under(self, value: Value, before: tuple[int, ...], lead: tuple[int, ...]) -> Value:
        """What is broadcast to matrices under the axes `before`, as it is under the axes `lead`."""
        if before == lead:
            return value
        matrix = (1, 1, *value.shape)[-2:]
        single = all(size == 1 for size in value.shape[:-2])
        target = (*((1,) * len(lead) if single else lead), *matrix)
        if value.data is not None:
            whole = value.data if single else np.broadcast_to(value.data, (*before, *matrix))
            data = np.array(whole.reshape(target), order="C")
            return Value(f"{value.name}_under", data.shape, value.dtype, data)
        if not single and value.shape[:-2] != before:
            value = self._add(Expand, value, (*before, *matrix))
        return value if value.shape == target else self._add(Reshape, value, target)

    def _add(
        self, kind: type[Op], x: Value, shape: tuple[int, ...], *attributes: object, dtype: str = ""
    ) -> Value:
        output = Value(f"{x.name}_{kind.__name__.lower()}{len(self._made)}", shape, dtype or x.dtype)
        self._made.append(kind((x,), (output,), *attributes))
        return output


def _keeps_matrices(view: Reshape) -> bool:
    return len(view.output.shape) >= 2 and view.output.shape[-2:] == view.x.shape[-2:]


def _after(outer: MatMul, mixed: Value) -> Map:
    """The epilogue of the product as an op of its own."""
    assert outer.epilogue is not None
    return Map((mixed, *outer.extras), outer.outputs, outer.epilogue)
