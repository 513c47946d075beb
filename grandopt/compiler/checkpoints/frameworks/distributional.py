"""Q values of networks that give whole distributions of returns, and of networks in two branches."""

from __future__ import annotations

import torch
from torch import nn


class ExpectedReturn(nn.Module):
    """The mean return of each action, from logits over returns of fixed size (C51)."""

    atoms: torch.Tensor

    def __init__(self, atoms: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("atoms", atoms)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, actions * atoms], the atoms of an action side by side, to [B, actions]."""
        likely = torch.softmax(logits.unflatten(1, (-1, self.atoms.shape[0])), dim=2)
        return (likely * self.atoms).sum(dim=2)


class MeanQuantile(nn.Module):
    """The mean of each action's quantiles (QR-DQN), which stand side by side."""

    def __init__(self, quantiles: int) -> None:
        super().__init__()
        self.quantiles = quantiles

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[B, actions * quantiles] to [B, actions]."""
        return given.unflatten(1, (-1, self.quantiles)).mean(dim=2)


class Dueling(nn.Module):
    """Q values as a value and, for each action, what it is better by than the mean one."""

    def __init__(self, advantage: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.advantage = advantage
        self.value = value

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, n] to [B, actions]."""
        better = self.advantage(features)
        return better - better.mean(dim=1, keepdim=True) + self.value(features)


class MeanOfNetworks(nn.Module):
    """The mean of what several networks give."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[B, n] to [B, k]."""
        return torch.stack([network(given) for network in self.networks]).mean(dim=0)
