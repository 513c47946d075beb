"""GRUs and LSTMs from the weights that torch gives their layers, `weight_ih_l0` and so on."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from grandopt.compiler.checkpoints import dtypes
from grandopt.errors import CheckpointError

KINDS: dict[int, type[nn.GRU | nn.LSTM]] = {3: nn.GRU, 4: nn.LSTM}
"""By the rows that the weights have for each number of the state."""


def recurrent_layers(own: Mapping[str, torch.Tensor], name: str, where: str) -> nn.GRU | nn.LSTM:
    """The layers with the weights `own`, in their dtypes; `name` is what an error calls them.

    Shapes are compared before anything takes memory. Raises CheckpointError for weights that are missing or
    too many, of another shape, or of layers in two directions or with a projection.
    """
    first, square = own.get("weight_ih_l0"), own.get("weight_hh_l0")
    matrices = [weight for weight in (first, square) if weight is not None and weight.dim() == 2]
    if len(matrices) < 2 or any(0 in weight.shape for weight in matrices):
        raise CheckpointError(f"{where}: the weights of recurrent layer {name!r} are missing or no matrices")
    inputs, (rows, width) = matrices[0].shape[1], matrices[1].shape
    kind = KINDS.get(rows // width) if rows % width == 0 else None
    if kind is None:
        raise CheckpointError(
            f"{where}: recurrent layer {name!r} has {rows} rows for a state of {width}, where a GRU has "
            f"{3 * width} and an LSTM {4 * width}; give the network as module:callable"
        )
    count, bias = sum(re.fullmatch(r"weight_ih_l\d+", key) is not None for key in own), "bias_ih_l0" in own
    wanted = _shapes(rows, inputs, width, count, bias=bias)
    given = {key: tuple(tensor.shape) for key, tensor in own.items()}
    odd = sorted(key for key in {*wanted, *given} if wanted.get(key) != given.get(key))
    if odd:
        shown = ", ".join(odd[:4]) + (", …" if len(odd) > 4 else "")
        raise CheckpointError(
            f"{where}: recurrent layer {name!r} is no {kind.__name__} in one direction: {shown:.200}"
        )
    made = kind(inputs, width, num_layers=count, bias=bias)
    dtypes.as_in(made, own)
    made.load_state_dict(dict(own))
    return made


def _shapes(rows: int, inputs: int, width: int, count: int, *, bias: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of `count` layers, by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(count):
        shapes[f"weight_ih_l{layer}"] = (rows, width if layer else inputs)
        shapes[f"weight_hh_l{layer}"] = (rows, width)
        if bias:
            shapes |= {f"bias_{part}_l{layer}": (rows,) for part in ("ih", "hh")}
    return shapes
