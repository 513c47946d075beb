"""The agent of the memory benchmark: a plain policy that takes about 20 µs as a native artifact."""

from __future__ import annotations

import torch
from torch import nn

STATE = 128
HIDDEN = 448
ACTIONS = 8


class ServingAgent(nn.Module):
    """Observations [B, 128] to action scores [B, 8]; three hidden layers, 464 k parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(STATE, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, ACTIONS),
        )

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(state)
        return result
