"""The convolutional network of Mnih et al., "Human-level control through deep reinforcement learning" (Nature
518, 2015), which reinforcement learning from pixels is measured with ever since."""

from __future__ import annotations

import torch
from torch import nn

FRAMES = (4, 84, 84)
ACTIONS = 6
"""Those of Pong."""


class NatureCnn(nn.Module):
    """Four stacked grey frames in 0 … 1, [B, 4, 84, 84], to action values [B, 6]; 1.7 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(FRAMES[0], 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Linear(512, ACTIONS))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.features(frames))
        return result
