"""Policies of sb3-contrib with an LSTM (RecurrentPPO), one step at a time.

`predict(observation, state, episode_start)` of sb3-contrib multiplies the state with 1 - episode_start before
each step, so that an episode begins with zeros. The inputs `episode_start`, `h` and `c` stand for its
arguments; the state has the batch first here, [B, layers, hidden], where sb3-contrib has the layers first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from grandopt.compiler.checkpoints.sb3.layers import Tensors
from grandopt.compiler.checkpoints.weight_files.recurrent_layers import recurrent_layers
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, StateTensor, TensorSpec

LAYER = "lstm_actor"
EPISODE_START = "episode_start"
STATE = (StateTensor("h", "h_next"), StateTensor("c", "c_next"))


class RecurrentPolicy(nn.Module):
    """Encoders of the observations, an LSTM that remembers, and the steps from it to the action."""

    def __init__(self, encoders: Sequence[nn.Module], lstm: nn.LSTM, head: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.lstm = lstm
        self.head = head

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Observations [B, …], episode_start [B], h and c [B, layers, hidden] to action, h and c."""
        *observed, start, hidden, cell = inputs
        encoded = [encoder(value) for encoder, value in zip(self.encoders, observed, strict=True)]
        features = torch.cat(encoded, dim=1) if len(encoded) > 1 else encoded[0]
        kept = (1.0 - start).unsqueeze(1).unsqueeze(2)
        state = ((hidden * kept).transpose(0, 1), (cell * kept).transpose(0, 1))
        remembered, (hidden, cell) = self.lstm(features.unsqueeze(0), state)
        return self.head(remembered.squeeze(0)), hidden.transpose(0, 1), cell.transpose(0, 1)


def lstm(tensors: Tensors, where: str) -> nn.LSTM:
    """The actor's LSTM from its weights; raises CheckpointError where sb3-contrib makes no such."""
    own = {
        key.removeprefix(f"{LAYER}."): value.float()
        for key, value in tensors.items()
        if key.startswith(f"{LAYER}.")
    }
    made = recurrent_layers(own, LAYER, where)
    if not isinstance(made, nn.LSTM):
        raise CheckpointError(f"{where}: '{LAYER}' is a {type(made).__name__}, and sb3-contrib makes LSTMs")
    return made


def inputs(memory: nn.LSTM) -> tuple[TensorSpec, ...]:
    """What the policy takes beside the observations."""
    shape = (memory.num_layers, memory.hidden_size)
    start = TensorSpec(EPISODE_START, (), "float32", 0.0, 1.0)
    return (start, *(TensorSpec(tensor.input, shape) for tensor in STATE))


def with_memory(contract: Contract) -> Contract:
    """The contract of a policy that remembers."""
    return replace(contract, state=STATE, episode_start=EPISODE_START)
