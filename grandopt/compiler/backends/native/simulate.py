"""What a graph computes of samples, in NumPy: products over weights of every precision, as kernels round.

Only for comparing precisions while an agent is built: sums are taken in another order than kernels take
them, so that nothing that runs is checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from grandopt.compiler.backends.native.evaluate import (
    add_constants,
    aligned,
    finished,
    of_op,
    windows,
)
from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Attention,
    Convolve,
    Gather,
    Graph,
    Linear,
    MatMul,
    Op,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Reduce,
    ReduceKind,
    Softmax,
    Value,
)
from grandopt.compiler.backends.native.passes.codes import LEVELS, RECTIFIED_LEVELS
from grandopt.compiler.backends.native.render.weights import pairs_pay
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

REDUCTIONS: dict[ReduceKind, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
}


class Simulation:
    """A graph in float32 on samples, and variants of it, which are computed from where they differ.

    `inputs` are those of the graph, in order, each [n, *shape]. Raises UnsupportedError, naming the op, for
    one that is not known here.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Array]) -> None:
        self._ops = frozenset(graph.ops)
        self._known: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
        for op in graph.ops:
            _step(op, self._known, rounded=False)

    def values(self, wanted: Sequence[Value]) -> list[Array]:
        """The wanted values, each [n, *shape]."""
        return [self._known[value] for value in wanted]

    def variant(
        self, graph: Graph, wanted: Sequence[Value], halved: frozenset[Op] = frozenset()
    ) -> list[Array]:
        """The wanted values of another graph with the same inputs and, in part, the same ops; the products
        among these that are in `halved` have bfloat16 weights."""
        known = dict(self._known)
        changed: set[Value] = set()
        for op in graph.ops:
            same = op in self._ops and op not in halved
            if same and not any(value in changed for value in op.inputs):
                continue
            _step(op, known, rounded=op in halved)
            changed.update(op.outputs)
        return [known[value] for value in wanted]


def bfloat16(array: Array) -> Array:
    """Finite numbers rounded to bfloat16, to nearest even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded: Array = ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def _step(op: Op, known: dict[Value, Array], *, rounded: bool) -> None:
    """Enter what an op computes; with `rounded`, over bfloat16 weights."""
    add_constants(op, known)
    with np.errstate(all="ignore"):
        results = _results(op, known, rounded=rounded)
    if results is None:
        raise UnsupportedError(f"{type(op).__name__} is not simulated with its {op.outputs[0].dtype} result")
    for value, result in zip(op.outputs, results, strict=True):
        known[value] = result.astype(value.dtype if value.dtype != "uint8" else "float32", copy=False)


def _results(op: Op, known: dict[Value, Array], *, rounded: bool) -> tuple[Array, ...] | None:
    """What an op computes; None for one that is not known here. Codes are float32 numbers around 0."""
    given = [known[value] for value in op.inputs]
    match op:
        case Linear():
            weight = op.weight.constant
            x = bfloat16(given[0]) if rounded and pairs_pay(*weight.shape) else given[0]
            weight = bfloat16(weight) if rounded else weight
            return _single(finished(_product(x, weight) + given[2], op.epilogue, given[3:]))
        case QuantizedLinear():
            codes, scales = given[:2]
            whole = _product(codes, op.weight.constant.astype(np.float32)) * (scales * given[3])
            return _single(finished(whole + given[4], op.epilogue, given[5:]))
        case Quantize():
            return _codes(*given, levels=RECTIFIED_LEVELS if op.rectified else LEVELS)
        case Convolve():
            weight = bfloat16(op.weight.constant) if rounded else op.weight.constant
            return _single(finished(_convolved(op, given[0], weight) + given[2], op.epilogue, given[3:]))
        case MatMul():
            product = _matmul(given[0], given[1], len(op.output.shape))
            return _single(finished(product, op.epilogue, given[2:]))
        case Attention():
            return _single(_attention(op, given))
        case Recurrent() | QuantizedRecurrent():
            return _recurrence(op, given, rounded=rounded)
        case Reduce():
            axes = tuple(axis + 1 for axis in op.axes)
            return (REDUCTIONS[op.kind](given[0], axis=axes, keepdims=True),)
        case ArgReduce():
            return (np.argmax(given[0], -1) if op.largest else np.argmin(given[0], -1),)
        case Softmax():
            return (_softmax(given[0], log=op.log),)
        case Gather() if len(given[0]) == 1:
            return (given[0][0][given[1]],)
        case _:
            return _single(of_op(op, known))


def _product(x: Array, weight: Array) -> Array:
    """x · weightᵀ over all rows at once; torch's products are the ones that its threads are set for."""
    # Torch warns of arrays that cannot be written, as broadcast ones are.
    rows = torch.from_numpy(np.require(x.reshape(-1, x.shape[-1]), np.float32, ("C", "W")))
    result: Array = (rows @ torch.from_numpy(weight).T).numpy()
    return result.reshape(*x.shape[:-1], len(weight))


def _matmul(a: Array, b: Array, rank: int) -> Array:
    pair = (torch.from_numpy(np.ascontiguousarray(aligned(part, rank))) for part in (a, b))
    result: Array = torch.matmul(*pair).numpy()
    return result


def _attention(op: Attention, given: Sequence[Array]) -> Array | None:
    rank = len(op.output.shape)
    query, keys, values = map(bfloat16, given[:3]) if op.rounded else given[:3]
    scores = finished(_matmul(query, keys, rank), op.epilogue, given[3:])
    if scores is None:
        return None
    shares = _softmax(scores, log=False)
    if op.admitted:
        shares = np.where(np.isneginf(scores).all(-1, keepdims=True), np.float32(0), shares)
    return _matmul(shares, values, rank)


def _single(result: Array | None) -> tuple[Array, ...] | None:
    return None if result is None else (result,)


def _softmax(x: Array, *, log: bool) -> Array:
    moved = x - x.max(-1, keepdims=True)
    total = np.exp(moved).sum(-1, keepdims=True)
    result: Array = moved - np.log(total) if log else np.exp(moved) / total
    return result


def _codes(x: Array, *scaling: Array, levels: int) -> tuple[Array, Array]:
    if scaling:
        offset, factor = (aligned(part, x.ndim - 1) for part in scaling)
        x = (x - offset) * factor
    top = np.abs(x).max(-1, keepdims=True)
    scales = np.where(top > 0, top / np.float32(levels), np.float32(1))
    return np.rint(x / scales), scales


def _convolved(op: Convolve, x: Array, weight: Array) -> Array:
    """The sums over the taps, without the bias: [n, 1, positions…, N]."""
    rank = len(op.strides)
    lead = np.moveaxis(x, -1, 2)
    borders = [(0, 0)] * 3
    inside = [slice(None)] * 3
    for axis, size in enumerate(lead.shape[3:]):
        start, end = op.reach(axis)
        ahead = max(0, -start)
        borders.append((ahead, max(0, end - size)))
        inside.append(slice(start + ahead, end + ahead))
    seen = np.pad(lead, borders)[tuple(inside)]
    patches = windows(seen, weight.shape[1:-1], op.strides, op.dilations)
    taps = list(range(3 + rank, 3 + 2 * rank))
    if op.depthwise:
        kernel = weight[..., 0].reshape(1, 1, len(weight), *(1,) * rank, *weight.shape[1:-1])
        return np.moveaxis((patches * kernel).sum(axis=tuple(taps)), 2, -1)
    return np.tensordot(patches, weight, axes=([2, *taps], [1 + rank, *range(1, 1 + rank)]))


def _recurrence(
    op: Recurrent | QuantizedRecurrent, given: Sequence[Array], *, rounded: bool
) -> tuple[Array, ...]:
    """y, the last hidden state, and an LSTM's last cell state."""
    count = max(map(len, given))
    gates, weight = given[0], op.weight.constant.astype(np.float32)
    bias, *initial = given[2:] if isinstance(op, Recurrent) else given[3:]
    narrow = rounded and pairs_pay(*weight.shape)
    weight = bfloat16(weight) if rounded else weight

    def product(state: Array) -> Array:
        if isinstance(op, Recurrent):
            return _product(bfloat16(state) if narrow else state, weight) + bias
        codes, scales = _codes(state, levels=LEVELS)
        return _product(codes, weight) * (scales * given[2]) + bias

    state, *cells = (np.broadcast_to(part, (count, *part.shape[1:])) for part in initial)
    steps = gates.shape[1]
    y = np.empty((count, steps, weight.shape[1]), np.float32)
    for step in reversed(range(steps)) if op.reverse else range(steps):
        if op.cell == "lstm":
            sums = np.split(gates[:, step] + product(state), 4, axis=-1)
            enter, forget, leave = (_sigmoid(sums[place]) for place in (0, 1, 3))
            cells = [forget * cells[0] + enter * np.tanh(sums[2])]
            state = leave * np.tanh(cells[0])
        else:
            (reset, update, new), (r, z, n) = (
                np.split(part, 3, axis=-1) for part in (gates[:, step], product(state))
            )
            update = _sigmoid(update + z)
            state = update * state + (1 - update) * np.tanh(new + _sigmoid(reset + r) * n)
        y[:, step] = state
    return (y, state, *cells)


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result
