"""All translations; importing this fills the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from grandopt.compiler.checkpoints.onnx.call import TABLE, Call, Translation
from grandopt.compiler.checkpoints.onnx.operators import (
    activations,
    attention,
    convolution,
    creation,
    elementwise,
    indexing,
    normalisation,
    pooling,
    products,
    recurrent,
    reductions,
    resampling,
    shapes,
)

GROUPS = (
    activations, attention, convolution, creation, elementwise, indexing, normalisation, pooling, products,
    recurrent, reductions, resampling, shapes,
)  # fmt: skip


@dataclass(frozen=True)
class Preparation:
    """What is made of constant operands at `places` before the first call, in their stead."""

    places: tuple[int, ...]
    make: Callable[[Call], tuple[torch.Tensor, ...]]


PREPARED = {
    "Gemm": Preparation((1,), products.gemm_weight),
    "MatMul": Preparation((1,), products.matmul_weight),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), Preparation((1, 2, 3), recurrent.plain_weights)),
}
CONTROL = ("If", "Loop")
RANDOM = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
)


def translation(op: str) -> Translation | None:
    """The translation of an operator; None for one that is not computed here."""
    return TABLE.get(op)
