"""Weights of large products as 8-bit integers, and their activations quantized row by row as they come.

Weights are scaled per output channel and rounded symmetrically; activations are scaled by the largest
magnitude of each row (dynamic quantization as in Jacob et al. 2018, without a zero point). What a ReLU gave
has all codes above zero: with signed ones, half of them would never be taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grandopt.compiler.backends.native.form import (
    Attention,
    Graph,
    Linear,
    Op,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Value,
)
from grandopt.compiler.backends.native.passes.codes import SCALES, channel_scales, codes_of
from grandopt.compiler.backends.native.passes.rectified import is_rectified
from grandopt.compiler.backends.native.passes.scale import Scaling, scalings
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

ROW_BYTES = 64
"""Rows of codes are padded to this many: the inputs that one step over a tile takes."""
MOST_INPUTS = 1 << 16
"""A sum of more products of a code (at most 255) and a weight (at most 127) may not fit 32 bits."""
FEWEST_INPUTS, FEWEST_OUTPUTS, FEWEST_WEIGHTS = 16, 16, 4096
"""Smaller products are over before quantizing their activations has paid; they stay exact."""


def quantize(
    graph: Graph, exact: frozenset[Op] = frozenset(), samples: Sequence[Array] | None = None
) -> Graph:
    """The graph with the large products over int8 weights, but for those of `exact`.

    With recorded `samples`, [n, *shape] per input, raw observations are scaled feature by feature where that
    rounds less, see `scale.py`. Raises UnsupportedError when there is no such product.
    """
    products: dict[Value, list[Linear]] = {}
    for op in graph.ops:
        if isinstance(op, Linear) and op not in exact and admits(op.weight.constant):
            products.setdefault(op.x, []).append(op)
    scaled = {} if samples is None else scalings(graph, products, samples)
    producers = graph.producers()
    ops: list[Op] = []
    rows: dict[Value, Quantize] = {}
    for op in graph.ops:
        if isinstance(op, Linear) and op in products.get(op.x, ()):
            x = op.x
            if x not in rows:  # what several products read is quantized once
                rows[x] = _quantized(x, scaled.get(x), rectified=is_rectified(x, producers))
                ops.append(rows[x])
            weight, bias = _folded(op, scaled.get(x))
            inputs = (*rows[x].outputs, *_weights(weight), bias, *op.extras)
            ops.append(QuantizedLinear(inputs, op.outputs, op.epilogue, rows[x].rectified))
        elif isinstance(op, Recurrent) and op not in exact and admits(op.weight.constant):
            inputs = (op.gates, *_weights(op.weight), op.bias, *op.initial)
            ops.append(QuantizedRecurrent(inputs, op.outputs, op.cell, op.reverse))
        elif isinstance(op, Attention) and op not in exact:
            ops.append(replace(op, rounded=True))
        else:
            ops.append(op)
    if not any(isinstance(op, (QuantizedLinear, QuantizedRecurrent)) for op in ops):
        raise UnsupportedError(
            f"{graph.name}: no product of at least {FEWEST_INPUTS} inputs, {FEWEST_OUTPUTS} outputs and "
            f"{FEWEST_WEIGHTS} weights, for which int8 could pay"
            + (", other than those that read raw observations, which stay in float32" if exact else "")
        )
    return replace(graph, ops=tuple(ops))


def _folded(op: Linear, scaling: Scaling | None) -> tuple[Value, Value]:
    """Weight and bias of a product whose input is scaled so."""
    weight, bias = op.weight, op.bias
    if scaling is None:
        return weight, bias
    folded = scaling.weight(weight.constant).astype(np.float32)
    moved = scaling.bias(weight.constant, bias.constant).astype(np.float32)
    return (
        Value(f"{weight.name}_scaled", weight.shape, "float32", folded),
        Value(f"{bias.name}_moved", bias.shape, "float32", moved),
    )


def admits(weight: Array) -> bool:
    """Whether codes could take the place of weights [N, K]."""
    outputs, inputs = weight.shape
    if not (FEWEST_INPUTS <= inputs <= MOST_INPUTS and outputs >= FEWEST_OUTPUTS):
        return False
    if weight.size < FEWEST_WEIGHTS or not np.isfinite(weight).all():
        return False
    scales = channel_scales(weight)
    return bool(scales.min() >= SCALES[0] and scales.max() <= SCALES[1])


def _quantized(x: Value, scaling: Scaling | None, *, rectified: bool) -> Quantize:
    width = -(-x.shape[-1] // ROW_BYTES) * ROW_BYTES
    codes = Value(f"{x.name}_codes", (*x.shape[:-1], width), "uint8")
    scales = Value(f"{x.name}_scales", (*x.shape[:-1], 1), "float32")
    if scaling is None:
        return Quantize((x,), (codes, scales), rectified)
    offset = Value(f"{x.name}_offset", scaling.offset.shape, "float32", scaling.offset)
    factor = Value(f"{x.name}_factor", scaling.factor.shape, "float32", scaling.factor)
    return Quantize((x, offset, factor), (codes, scales))


def _weights(weight: Value) -> tuple[Value, Value]:
    """The weight's codes and scales as constants."""
    codes, scales = codes_of(weight.constant), channel_scales(weight.constant)
    return (
        Value(f"{weight.name}_codes", codes.shape, "int8", codes),
        Value(f"{weight.name}_scales", scales.shape, "float32", scales),
    )
