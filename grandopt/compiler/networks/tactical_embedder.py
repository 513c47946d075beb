"""`tactical_embedder`: a bidirectional LSTM, then attention at three time scales; a Gaussian embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.networks.attention import AttentionPooling, SelfAttention

BARS, FEATURES, EMBEDDING = 60, 7, 48
WINDOWS = (5, 15, 30)
"""Time scales in bars: each attention looks back this far from every bar."""


class TacticalEmbedder(nn.Module):
    """[B, 60, 7] → mean μ [B, 48] and standard deviation σ > 0 [B, 48] of the embedding."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 3) -> None:
        super().__init__()
        both, joined = 2 * width, 2 * width * len(WINDOWS)
        self.project = nn.Sequential(nn.Linear(FEATURES, width), nn.LayerNorm(width), nn.ReLU())
        self.lstm = nn.LSTM(width, width, num_layers=layers, batch_first=True, bidirectional=True)
        self.scales = nn.ModuleList(SelfAttention(both, heads, window, BARS) for window in WINDOWS)
        self.join = nn.Sequential(nn.Linear(joined, joined), nn.LayerNorm(joined), nn.ReLU())
        self.pool = AttentionPooling(joined, both)
        self.mu = self._head(joined, both)
        self.sigma = self._head(joined, both)

    @staticmethod
    def _head(width: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, EMBEDDING))

    def forward(self, bars: Tensor) -> tuple[Tensor, Tensor]:
        steps, _ = self.lstm(self.project(bars))
        scales = torch.cat([attention(steps) for attention in self.scales], dim=-1)
        pooled = self.pool(self.join(scales))
        return self.mu(pooled), F.softplus(self.sigma(pooled))
