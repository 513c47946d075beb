"""Policies of sb3-contrib that are told which actions are allowed (MaskablePPO).

`predict(observation, action_masks=…)` of sb3-contrib puts -1e8 in the place of the logits of forbidden
actions and takes the likeliest action of each group. The masks are an input here, after the observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from grandopt.compiler.checkpoints.sb3.spaces import Box, MultiBinary, MultiDiscrete, Space
from grandopt.errors import CheckpointError
from grandopt.signature import TensorSpec

MASKS = "action_masks"
"""The argument of sb3-contrib's `predict`, and the input's name: one bool for each score, True if allowed."""


class Forbidding(nn.Module):
    """Scores in which -1e8 stands for every action that is not allowed, as sb3-contrib writes it there."""

    never: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("never", torch.tensor(-1e8))

    def forward(self, scores: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """[B, n] and bool [B, n] to [B, n]."""
        return torch.where(allowed, scores, self.never)


class Lowering(nn.Module):
    """Scores in which every action that is not allowed has one less than the row's smallest.

    They lead to the same action as those of `Forbidding`, and keep the size of the network's own scores,
    which the margins between decisions are measured against.
    """

    def forward(self, scores: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """[B, n] and bool [B, n] to [B, n]."""
        return torch.where(allowed, scores, scores.amin(dim=-1, keepdim=True) - 1.0)


class MaskedPolicy(nn.Module):
    """Encoders of the observations, the network, the masks, and what takes the action from the scores."""

    def __init__(
        self, encoders: Sequence[nn.Module], network: nn.Module, mask: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.network = network
        self.mask = mask
        self.head = head

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Observations [B, …] and bool masks [B, n] to what `head` makes of the scores [B, n]."""
        *observed, allowed = inputs
        encoded = [encoder(value) for encoder, value in zip(self.encoders, observed, strict=True)]
        features = torch.cat(encoded, dim=1) if len(encoded) > 1 else encoded[0]
        return self.head(self.mask(self.network(features), allowed))


def chosen_from(space: Space, where: str) -> Space:
    """The space as sb3-contrib chooses from it: a bit is one of two actions, each with a score and a mask.

    Raises CheckpointError for continuous actions, which cannot be masked.
    """
    if isinstance(space, Box):
        raise CheckpointError(f"{where}: MaskablePPO chooses from actions, but the action space is a Box")
    if isinstance(space, MultiBinary):
        if len(space.shape) != 1:
            raise CheckpointError(
                f"{where}: MaskablePPO takes bits in one row, the action space is {list(space.shape)}"
            )
        return MultiDiscrete((2,) * space.shape[0])
    return space


def spec(scores: int) -> TensorSpec:
    """The input for the masks of an agent that chooses by so many scores."""
    return TensorSpec(MASKS, (scores,), "bool")
