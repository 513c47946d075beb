"""LSTM and GRU, layer by layer and direction by direction.

The input projections of all steps are one Linear op; what depends on the previous step is a Recurrent op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import CellKind, Recurrent, Value
from grandopt.compiler.backends.native.operators.products import add_linear
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten
from grandopt.signature import Array


@dataclass(frozen=True)
class _Weights:
    """The weights of one direction of one layer; biases are zero where the layer has none."""

    input: Array
    hidden: Array
    input_bias: Array
    hidden_bias: Array


@aten("lstm.input")
def lstm(
    context: Context,
    x: Value,
    state: Sequence[Value],
    weights: Sequence[Value],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    return _stack(context.build, "lstm", x, state, weights, has_biases, layers, bidirectional, batch_first)


@aten("gru.input")
def gru(
    context: Context,
    x: Value,
    state: Value,
    weights: Sequence[Value],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    return _stack(context.build, "gru", x, [state], weights, has_biases, layers, bidirectional, batch_first)


def _stack(
    build: Builder,
    cell: CellKind,
    x: Value,
    state: Sequence[Value],
    weights: Sequence[Value],
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    if len(x.shape) != 3:
        raise ConditionError("over a sequence without a batch")
    directions = 2 if bidirectional else 1
    steps = x.shape[1 if batch_first else 0]
    sequence = build.reshape(x, (steps, x.shape[2]))
    lasts: list[tuple[Value, ...]] = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            step = 4 if has_biases else 2
            named = _weights(cell, weights[index * step : (index + 1) * step])
            initial = [build.reshape(build.slice(s, 0, index, 1), (s.shape[-1],)) for s in state]
            y, *last = _direction(build, cell, sequence, initial, named, direction == 1)
            outputs.append(y)
            lasts.append(tuple(last))
        sequence = build.concat(outputs, 1)
    shape = (1, steps, sequence.shape[1]) if batch_first else (steps, 1, sequence.shape[1])
    finals = (
        build.concat([build.reshape(v, (1, 1, v.elements)) for v in column], 0)
        for column in zip(*lasts, strict=True)
    )
    return (build.reshape(sequence, shape), *finals)


def _weights(cell: CellKind, values: Sequence[Value]) -> _Weights:
    arrays = [value.data for value in values]
    if any(array is None or array.dtype != np.float32 for array in arrays):
        raise ConditionError("with weights that are not float32 constants")
    known = [array for array in arrays if array is not None]
    zeros = np.zeros(known[0].shape[0], np.float32)
    gates = 4 if cell == "lstm" else 3
    if known[1].shape != (known[0].shape[0], known[0].shape[0] // gates):
        raise ConditionError("with a projected state (proj_size)")
    return _Weights(known[0], known[1], *(known[2:] or (zeros, zeros)))


def _direction(
    build: Builder, cell: CellKind, x: Value, initial: list[Value], w: _Weights, reverse: bool
) -> tuple[Value, ...]:
    steps, hidden = x.shape[0], w.hidden.shape[1]
    if cell == "lstm":  # both biases are only ever added: one sum, taken once
        total = (w.input_bias.astype(np.float64) + w.hidden_bias).astype(np.float32)
        bias, recurrent_bias = total, np.zeros_like(total)
    else:
        bias, recurrent_bias = w.input_bias, w.hidden_bias
    gates = add_linear(build, x, build.constant(w.input), build.constant(bias))
    outputs = (
        build.value((steps, hidden), "float32"),
        *(build.value((hidden,), "float32") for _ in initial),
    )
    operands = (gates, build.constant(w.hidden), build.constant(recurrent_bias), *initial)
    build.add(Recurrent(operands, outputs, cell, reverse))
    return outputs
