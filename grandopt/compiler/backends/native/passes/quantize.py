"""Weights of large products as 8-bit integers, and their activations quantized row by row as they come.

Weights are scaled per output channel and rounded symmetrically; activations are scaled by the largest
magnitude of each row (dynamic quantization as in Jacob et al. 2018, without a zero point).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grandopt.compiler.backends.native.form import (
    Graph,
    Linear,
    Op,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Value,
)
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

LEVELS = 127
"""Codes of weights and activations lie between −LEVELS and LEVELS."""
ROW_BYTES = 64
"""Rows of codes are padded to this many: the inputs that one step over a tile takes."""
MOST_INPUTS = 1 << 16
"""A sum of more products of a code (at most 255) and a weight (at most 127) may not fit 32 bits."""
FEWEST_INPUTS, FEWEST_OUTPUTS, FEWEST_WEIGHTS = 32, 16, 4096
"""Smaller products are over before quantizing their activations has paid; they stay exact."""
SCALES = (2.0**-60, 2.0**60)
"""Weight scales outside could overflow or vanish in the products of scales."""


def quantize(graph: Graph) -> Graph:
    """The graph with the large products over int8 weights.

    Raises UnsupportedError when there is none.
    """
    ops: list[Op] = []
    rows: dict[Value, Quantize] = {}
    for op in graph.ops:
        if isinstance(op, Linear) and _admits(op):
            x = op.inputs[0]
            if x not in rows:  # what several products read is quantized once
                rows[x] = _quantized(x)
                ops.append(rows[x])
            weights = _weights(op.inputs[1])
            inputs = (*rows[x].outputs, *weights, *op.inputs[2:])
            ops.append(QuantizedLinear(inputs, op.outputs, op.epilogue))
        elif isinstance(op, Recurrent) and _admits(op):
            inputs = (op.inputs[0], *_weights(op.inputs[1]), *op.inputs[2:])
            ops.append(QuantizedRecurrent(inputs, op.outputs, op.cell, op.reverse))
        else:
            ops.append(op)
    if len(ops) == len(graph.ops) and all(new is old for new, old in zip(ops, graph.ops, strict=True)):
        raise UnsupportedError(
            f"{graph.name}: no product of at least {FEWEST_INPUTS} inputs, {FEWEST_OUTPUTS} outputs and "
            f"{FEWEST_WEIGHTS} weights, for which int8 could pay"
        )
    return replace(graph, ops=tuple(ops))


def channel_scales(weight: Array) -> Array:
    """What one code of each row of [N, K] stands for, float32 [N]; 1 for rows of zeros."""
    top = np.abs(weight).max(axis=1).astype(np.float64)
    return np.where(top > 0, top / LEVELS, 1.0).astype(np.float32)


def codes_of(weight: Array) -> Array:
    """The weights [N, K] as int8, in units of their channel's scale."""
    scaled = weight.astype(np.float64) / channel_scales(weight).astype(np.float64)[:, np.newaxis]
    return np.clip(np.rint(scaled), -LEVELS, LEVELS).astype(np.int8)


def _admits(op: Linear | Recurrent) -> bool:
    weight = op.inputs[1].data
    assert weight is not None
    outputs, inputs = weight.shape
    if not (FEWEST_INPUTS <= inputs <= MOST_INPUTS and outputs >= FEWEST_OUTPUTS):
        return False
    if weight.size < FEWEST_WEIGHTS or not np.isfinite(weight).all():
        return False
    scales = channel_scales(weight)
    return bool(scales.min() >= SCALES[0] and scales.max() <= SCALES[1])


def _quantized(x: Value) -> Quantize:
    width = -(-x.shape[-1] // ROW_BYTES) * ROW_BYTES
    codes = Value(f"{x.name}_codes", (*x.shape[:-1], width), "uint8")
    return Quantize((x,), (codes, Value(f"{x.name}_scales", (*x.shape[:-1], 1), "float32")))


def _weights(weight: Value) -> tuple[Value, Value]:
    """The weight's codes and scales as constants."""
    assert weight.data is not None
    codes, scales = codes_of(weight.data), channel_scales(weight.data)
    return (
        Value(f"{weight.name}_codes", codes.shape, "int8", codes),
        Value(f"{weight.name}_scales", scales.shape, "float32", scales),
    )
