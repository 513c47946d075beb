"""Products whose weights other passes work out: in float64, and rounded to float32 once."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.backends.native.form import Linear, Normalize, Value
from grandopt.signature import Array


def exact_weights(op: Linear | Normalize) -> tuple[Array, Array]:
    """Weight and bias in float64."""
    return op.weight.constant.astype(np.float64), op.bias.constant.astype(np.float64)


def product(x: Value, weight: Array, bias: Array, outputs: tuple[Value, ...], name: str) -> Linear:
    """The product of x by weight and bias, rounded; `name` begins the names of the two constants."""
    return Linear((x, *rounded(weight, bias, name)), outputs)


def rounded(weight: Array, bias: Array, name: str) -> tuple[Value, Value]:
    """Weight and bias as float32 constants whose names begin with `name`."""
    first, second = (
        Value(f"{name}_{part}", array.shape, "float32", array.astype(np.float32))
        for part, array in (("weight", weight), ("bias", bias))
    )
    return first, second
