"""The parts that policies are put together from: tensors by prefix, stacks of linear layers, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks.base import MEMORY
from grandopt.compiler.checkpoints.module.wrappers import plain_name
from grandopt.compiler.checkpoints.sb3 import layers as sb3_layers
from grandopt.compiler.checkpoints.weight_files import state_dict
from grandopt.compiler.checkpoints.weight_files.recurrent_layers import recurrent_layers
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

Tensors = Mapping[str, torch.Tensor]

COMPUTED = (torch.float32, torch.float16, torch.bfloat16)
"""Dtypes of weights that become a network in float32 without loss; no framework here trains in float64."""


def tensors_of(content: Any, key: str = "") -> Tensors:
    """The state dict at `key` of a file's content ("" for the content itself), names without wrappers.

    Empty where there is none, so that `recognises` can ask for the keys in it.
    """
    held = content if not key else content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(held, Mapping) or not state_dict.is_state_dict(held):
        return {}
    return {plain_name(name): tensor for name, tensor in held.items()}


def below(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with "`prefix`.", by what follows."""
    return {
        name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def stems(tensors: Tensors) -> set[str]:
    """What the names begin with, up to the first dot."""
    return {name.partition(".")[0] for name in tensors}


def inputs(network: Iterable[nn.Module]) -> int:
    """How many numbers the first linear layer takes, which may be inside another module."""
    return next(part.in_features for part in nn.ModuleList(network).modules() if isinstance(part, nn.Linear))


def outputs(network: Sequence[nn.Module]) -> int:
    """How many numbers the last linear layer gives."""
    return next(layer.out_features for layer in reversed(network) if isinstance(layer, nn.Linear))


def has_stack(tensors: Tensors, prefix: str) -> bool:
    """Whether linear layers of one Sequential begin at `prefix`: `prefix.0.weight` [out, in] and so on."""
    first = tensors.get(f"{prefix}.0.weight")
    return first is not None and first.dim() == 2


def stack(
    tensors: Tensors, prefix: str, between: type[nn.Module], where: str, *, last_active: bool = False
) -> list[nn.Module]:
    """The linear layers `prefix.0`, `prefix.2`, … with an activation between them and, if `last_active`,
    behind the last; raises CheckpointError where there are none, or others stand between."""
    _require_float32(tensors, prefix, where)
    found = sb3_layers.stack(tensors, prefix, between, where, last_active=last_active)
    if not found:
        raise CheckpointError(f"{where}: there are no linear layers at '{prefix}'")
    return found


def linear(tensors: Tensors, name: str, where: str) -> nn.Linear:
    """The linear layer with the weights at `name`; raises CheckpointError where there is none."""
    _require_float32(tensors, name, where)
    return sb3_layers.linear(tensors, name, where)


def norm(tensors: Tensors, name: str, where: str) -> nn.LayerNorm:
    """The layer normalisation with the weights at `name`; raises CheckpointError where there is none."""
    _require_float32(tensors, name, where)
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None or weight.dim() != 1 or weight.shape != bias.shape:
        raise CheckpointError(f"{where}: '{name}' is no layer normalisation of one dimension")
    made = nn.LayerNorm(weight.shape[0])
    made.load_state_dict({"weight": weight, "bias": bias})
    return made


def memory(tensors: Tensors, prefix: str, where: str) -> nn.GRU | nn.LSTM:
    """The recurrent layers whose weights are at `prefix`: an LSTM has four rows for each hidden unit, a GRU
    three.

    Raises CheckpointError for another number of rows, for a bidirectional layer, and for weights that do not
    fit each other.
    """
    _require_float32(tensors, prefix, where)
    own = {name: tensor.float() for name, tensor in below(tensors, prefix).items()}
    return recurrent_layers(own, prefix, where)


class Remembering(nn.Module):
    """A policy with memory, one step at a time: what is before the memory, the memory, what is behind."""

    def __init__(self, encoder: nn.Module, layers: nn.GRU | nn.LSTM, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.memory = layers
        self.head = head
        self.has_cell = isinstance(layers, nn.LSTM)

    def forward(self, observation: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Observation [B, …] and state [B, layers, hidden] each (h, c) to action and next state."""
        remembered, after = self.step(self.encoder(observation), state)
        return (self.head(remembered), *after)

    def step(
        self, features: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """One step of the memory: features [B, n] and state to what it gives [B, hidden], and next state."""
        taken = tuple(part.transpose(0, 1) for part in state)
        remembered, given = self.memory(features.unsqueeze(0), taken if self.has_cell else taken[0])
        after = given if self.has_cell else (given,)
        return remembered.squeeze(0), tuple(part.transpose(0, 1) for part in after)


def remembering(
    observed: tuple[TensorSpec, ...], layers: nn.GRU | nn.LSTM, contract: Contract
) -> tuple[tuple[TensorSpec, ...], Contract]:
    """Inputs and contract of a policy with `layers` as its memory, given those of one without."""
    tensors = MEMORY if isinstance(layers, nn.LSTM) else MEMORY[:1]
    shape = (layers.num_layers, layers.hidden_size)
    states = (TensorSpec(tensor.input, shape) for tensor in tensors)
    return (*observed, *states), replace(contract, state=tensors)


def _require_float32(tensors: Tensors, prefix: str, where: str) -> None:
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}.") and tensor.dtype not in COMPUTED:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{where}: tensor {name!r} is of the dtype {kind}; this network is computed in float32 only"
            )
