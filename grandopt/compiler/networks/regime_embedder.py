"""`regime_embedder`: which of 16 learned market patterns the present looks like."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FEATURES, EMBEDDING = 8, 16


class RegimeEmbedder(nn.Module):
    """[B, 8] → embedding [B, 16]: the patterns, weighted by their likeness to the state."""

    def __init__(self, width: int = 32, patterns: int = 16) -> None:
        super().__init__()
        self.project = nn.Linear(FEATURES, width)
        self.patterns = nn.Parameter(torch.randn(patterns, width))
        self.scale = 1.0 / math.sqrt(width)
        self.embed = nn.Sequential(nn.Linear(width, EMBEDDING), nn.LayerNorm(EMBEDDING))

    def forward(self, state: Tensor) -> Tensor:
        likeness = self.project(state) @ self.patterns.t() * self.scale
        return self.embed(torch.softmax(likeness, dim=-1) @ self.patterns)
