"""`tactical_system`: three trading agents and a critic that look at the last 60 bars."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BARS, FEATURES, ACTIONS, AGENTS = 60, 7, 3, 3


class TacticalAgent(nn.Module):
    """Action probabilities [B, 3] of one agent, which weighs the bars' features in its own way."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.feature_weights = nn.Parameter(1.0 + 0.1 * torch.randn(features))
        self.policy = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, ACTIONS))

    def forward(self, flat: Tensor) -> Tensor:
        return torch.softmax(self.policy(flat * self.feature_weights), dim=-1)


class TacticalSystem(nn.Module):
    """[B, 60, 7] → three times action probabilities [B, 3], and the state's value [B, 1]."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        flat = BARS * FEATURES
        self.agents = nn.ModuleList(TacticalAgent(flat, hidden) for _ in range(AGENTS))
        self.critic = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, bars: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flat = bars.flatten(1)
        fvg, momentum, entry = (agent(flat) for agent in self.agents)
        return fvg, momentum, entry, self.critic(flat)
