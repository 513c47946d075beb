"""`strategic_system`: three small policies, each with its own indicators, and a critic over all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

INDICATORS = {"mlmi": 4, "nwrqk": 6, "mmd": 3}
HIDDEN = {"mlmi": 64, "nwrqk": 64, "mmd": 32}
ACTIONS = 3


class StrategicSystem(nn.Module):
    """[B, 4], [B, 6], [B, 3] → three times action probabilities [B, 3], and the joint value [B, 1]."""

    def __init__(self, critic_hidden: int = 64) -> None:
        super().__init__()
        self.mlmi = self._policy("mlmi")
        self.nwrqk = self._policy("nwrqk")
        self.mmd = self._policy("mmd")
        joined = sum(INDICATORS.values())
        self.critic = nn.Sequential(nn.Linear(joined, critic_hidden), nn.ReLU(), nn.Linear(critic_hidden, 1))

    @staticmethod
    def _policy(name: str) -> nn.Sequential:
        hidden = HIDDEN[name]
        return nn.Sequential(
            nn.Linear(INDICATORS[name], hidden), nn.ReLU(), nn.Linear(hidden, ACTIONS), nn.Softmax(dim=-1)
        )

    def forward(self, mlmi: Tensor, nwrqk: Tensor, mmd: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value = self.critic(torch.cat([mlmi, nwrqk, mmd], dim=-1))
        return self.mlmi(mlmi), self.nwrqk(nwrqk), self.mmd(mmd), value
