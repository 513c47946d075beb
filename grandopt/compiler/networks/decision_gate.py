"""`decision_gate`: whether a proposed trade is executed."""

from __future__ import annotations

from torch import Tensor, nn

STATE = 152


class DecisionGate(nn.Module):
    """[B, 152] → probabilities [B, 2] of executing the trade and of rejecting it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(STATE, 64),
            nn.LayerNorm(64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.LayerNorm(32),
            nn.ReLU(),
            nn.Linear(32, 2),
            nn.Softmax(dim=-1),
        )

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state)
