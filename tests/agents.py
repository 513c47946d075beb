"""Networks for the checkpoints of the multi-agent trading system in `../shared/checkpoints/grandmodel`.

The layers are those that the weights name. What is not in a file of weights (dropout rates, and the
activations of `MarketRisk`) is a choice made here; a dropout does nothing in eval mode.
"""

from __future__ import annotations

import torch
from torch import nn


class Actor(nn.Module):
    """One actor of `tactical_mappo.pth`: [B, 7] to [B, outputs]."""

    def __init__(self, hidden: int = 256, outputs: int = 5) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(7, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden // 2),
            nn.ReLU(),
            nn.Linear(hidden // 2, outputs),
        )

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.net(state)
        return result


class Critic(Actor):
    """One critic of `tactical_mappo.pth`: [B, 7] to [B, 1]."""

    def __init__(self, hidden: int = 256) -> None:
        super().__init__(hidden, outputs=1)


class MarketRisk(nn.Module):
    """The network of `m_rms_model.pth`: positions [B, 64] and risks [B, 32] to [B, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.position_encoder = nn.Linear(64, 256)
        self.risk_encoder = nn.Linear(32, 256)
        self.fusion_layer = nn.Linear(512, 128)
        self.output_layer = nn.Linear(128, 1)

    def forward(self, positions: torch.Tensor, risks: torch.Tensor) -> torch.Tensor:
        encoded = torch.cat([self.position_encoder(positions), self.risk_encoder(risks)], dim=-1).relu()
        result: torch.Tensor = self.output_layer(self.fusion_layer(encoded).relu())
        return result
