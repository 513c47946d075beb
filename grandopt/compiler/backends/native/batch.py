"""Proof that a program treats the samples of a batch one by one.

The form has no batch, so this is checked on the exported graph: the place of the batch dimension is
followed from the inputs through every operator, and one that mixes samples is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from grandopt.compiler.backends.native.operators.registry import ConditionError
from grandopt.errors import UnsupportedError

VIEWS = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_copy", "_reshape_copy")
ALONG = {
    "softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "cummax", "cummin",
    "logcumsumexp", "flip", "roll", "sort", "argsort", "msort", "topk", "cat", "concat", "slice", "narrow",
    "split", "split_with_sizes", "split_with_sizes_copy", "chunk", "repeat", "stack", "glu", "gather",
    "index_select", "index_add", "index_copy", "index_fill", "index_reduce", "scatter", "scatter_add",
    "scatter_reduce", "select_scatter", "slice_scatter", "unfold", "unfold_copy",
}  # fmt: skip
"""Operators whose result still has a batch when they work along it, so that the shape does not tell."""
FLAT = ("take", "put", "masked_scatter", "masked_select", "bucketize", "searchsorted")
"""Operators that count through the whole of an argument, samples after samples."""


@dataclass(frozen=True)
class Batch:
    """Dimension `axis` holds `before` × batch × `after` elements, in this order."""

    axis: int
    before: int
    after: int


def check_symbols(shapes: list[tuple[Any, ...]]) -> None:
    """Raise UnsupportedError when the input shapes have more than one symbol."""
    symbols = {
        str(symbol)
        for shape in shapes
        for size in shape
        if isinstance(size, torch.SymInt)
        for symbol in size.node.expr.free_symbols
    }
    if len(symbols) > 1:
        raise UnsupportedError(
            f"the exported program has {len(symbols)} dynamic dimensions ({', '.join(sorted(symbols))}); "
            "the native engine takes one, the batch"
        )


def at_one(size: Any) -> int:
    """A size with the batch set to 1."""
    return int(at_batch(size, 1))


def at_batch(size: Any, batch: int) -> Any:
    """A number of the program with the batch set to `batch`."""
    expression = getattr(getattr(size, "node", None), "expr", None)
    if expression is None:
        return size
    number = expression.subs(dict.fromkeys(expression.free_symbols, batch))
    if isinstance(size, torch.SymBool):
        return bool(number)
    return float(number) if isinstance(size, torch.SymFloat) else int(number)


def check_numbers(node: Node) -> None:
    """Raise ConditionError when the operator computes with a number that depends on the batch's size."""
    schema = getattr(node.target, "_schema", None)
    for place, argument in enumerate(schema.arguments if schema else ()):
        given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
        number = given.meta.get("val") if isinstance(given, Node) else None
        if isinstance(argument.type, (torch.NumberType, torch.TensorType)) and _depends(number):
            raise ConditionError("with a number that depends on the size of the batch")


def _depends(number: Any) -> bool:
    expression = getattr(getattr(number, "node", None), "expr", None)
    symbols = None if isinstance(number, torch.Tensor) else expression
    return symbols is not None and len(symbols.free_symbols) > 0


def tensors_in(argument: Any) -> Iterator[Node]:
    """The nodes with a tensor value within an argument."""
    for node in _nodes(argument):
        if isinstance(node.meta.get("val"), (torch.Tensor, tuple, list)):
            yield node


def _nodes(argument: Any) -> Iterator[Node]:
    if isinstance(argument, Node):
        yield argument
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from _nodes(item)
    elif isinstance(argument, dict):
        yield from _nodes(list(argument.values()))


class BatchTracker:
    """Follows the batch dimension node by node, in graph order."""

    def __init__(self) -> None:
        self._states: dict[Node, Batch | None] = {}

    def enter(self, node: Node) -> None:
        """An input of the program: its batch is the whole first dimension."""
        self._states[node] = self._found(node)

    def require_leading(self, node: Node) -> None:
        """Raise ConditionError unless the node's first dimension is the batch and nothing else."""
        # A constant that was expanded to the batch is found by its shape.
        if (self._states.get(node) or self._found(node)) != Batch(0, 1, 1):
            raise ConditionError("without the batch as its first dimension")

    def step(self, node: Node) -> None:
        """Work out the batch dimension of the node's result; raises ConditionError if samples mix."""
        name = _name(node)
        sources = [s for n in tensors_in((node.args, node.kwargs)) if (s := self._states.get(n)) is not None]
        result = self._found(node)
        if not sources:
            self._states[node] = None
            return
        first = sources[0]
        if result is None:
            if isinstance(node.meta.get("val"), torch.Tensor):
                raise _mixes(node, "its result has no batch dimension")
            self._states[node] = first
            return
        if name in VIEWS:
            self._states[node] = self._viewed(node, first, result)
            return
        self._check(node, name, result)
        if any(s.before != first.before or s.after != first.after for s in sources) or (
            result.after != first.before * first.after
        ):
            raise _mixes(node, "its operands hold the batch in different ways")
        self._states[node] = Batch(result.axis, first.before, first.after)

    def _viewed(self, node: Node, before: Batch, after: Batch) -> Batch:
        source = next(tensors_in(node.args))
        ahead = before.before * _product(source.meta["val"].shape[: before.axis])
        kept = _product(node.meta["val"].shape[: after.axis])
        if ahead % kept or after.after % (ahead // kept):
            raise _mixes(node, "it splits the batch dimension")
        return Batch(after.axis, ahead // kept, after.after // (ahead // kept))

    def _check(self, node: Node, name: str, result: Batch) -> None:
        val = node.meta["val"]
        shape = (val[0] if isinstance(val, (tuple, list)) else val).shape
        rank = len(shape)
        if name in ALONG and result.axis in _dims(node, rank) and not _is_whole(node, shape):
            raise _mixes(node, "it works along the batch dimension")
        if name in ("scaled_dot_product_attention", "matmul", "bmm") and result.axis == rank - 1:
            raise _mixes(node, "the batch is a dimension of the product")
        if name == "scaled_dot_product_attention" and result.axis >= rank - 2:
            raise _mixes(node, "it attends across the batch")
        if name in FLAT and self._counts_through(node, name):
            raise _mixes(node, "it counts through all samples")
        if name in ("lstm", "gru") and result.axis != (0 if node.args[8] else 1):
            raise _mixes(node, "it runs along the batch")

    def _counts_through(self, node: Node, name: str) -> bool:
        """Whether the argument of a FLAT operator that it counts through holds the batch."""
        target: Any = node.target
        names = [argument.name for argument in target._schema.arguments]
        given: dict[str, Any] = dict(zip(names, node.args, strict=False))
        edges = given.get("boundaries", given.get("sorted_sequence"))
        counted = edges if name in ("bucketize", "searchsorted") else node.args[0]
        if not isinstance(counted, Node) or self._states.get(counted) is None:
            return name == "masked_scatter"
        return edges is None or len(counted.meta["val"].shape) == 1

    def leads(self, node: Node, axis: int) -> bool:
        """Whether an axis of the node's result is the batch."""
        state = self._states.get(node)
        return state is not None and state.axis == axis

    @staticmethod
    def _found(node: Node) -> Batch | None:
        """Where the shapes in the node's metadata say that the batch is."""
        val = node.meta.get("val")
        tensor = val[0] if isinstance(val, (tuple, list)) and val else val
        if not isinstance(tensor, torch.Tensor):
            return None
        sizes: tuple[Any, ...] = tuple(tensor.shape)
        dynamic = [axis for axis, size in enumerate(sizes) if isinstance(size, torch.SymInt)]
        if not dynamic:
            return None
        expression = sizes[dynamic[0]].node.expr
        if len(dynamic) > 1:
            raise _mixes(node, "two dimensions of its result depend on the batch")
        symbols = list(expression.free_symbols)
        factor = expression / symbols[0] if len(symbols) == 1 else expression
        if not factor.is_Integer:
            raise _mixes(node, f"its result has a dimension of size {expression}")
        return Batch(dynamic[0], 1, int(factor))


def _dims(node: Node, rank: int) -> set[int]:
    """The dimensions that an operator of ALONG works along."""
    target: Any = node.target
    arguments = target._schema.arguments
    given: dict[str, Any] = {a.name: a.default_value for a in arguments if a.has_default_value()}
    given |= dict(zip((a.name for a in arguments), node.args, strict=False))
    given |= node.kwargs
    if "repeats" in given:
        return {rank - 1 - i for i, times in enumerate(reversed(given["repeats"])) if times != 1}
    dim = given.get("dim", given.get("dims", given.get("dimension", 0)))
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):  # all of them
        return set(range(rank))
    return {d % rank for d in ([dim] if isinstance(dim, int) else dim)}


def _is_whole(node: Node, shape: Any) -> bool:
    """Whether a slice with step 1 takes everything."""
    source = next(tensors_in(node.args)).meta["val"]
    plain = _name(node) in ("slice", "narrow") and (len(node.args) < 5 or node.args[4] == 1)
    return bool(plain and isinstance(source, torch.Tensor) and tuple(source.shape) == tuple(shape))


def _product(sizes: Any) -> int:
    result = 1
    for size in sizes:
        result *= int(size)
    return result


def _name(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _mixes(node: Node, reason: str) -> ConditionError:
    return ConditionError(f"({node.name}), which mixes the samples of a batch: {reason},")
