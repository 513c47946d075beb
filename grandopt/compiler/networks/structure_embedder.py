"""`structure_embedder`: a transformer over the last 48 bars, giving a Gaussian embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.networks.attention import AttentionPooling, SelfAttention

BARS, FEATURES, EMBEDDING = 48, 8, 64


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual and the norm after it."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.attention_norm(tokens + self.attention(tokens))
        return self.feed_forward_norm(tokens + self.feed_forward(tokens))


class StructureEmbedder(nn.Module):
    """[B, 48, 8] → mean μ [B, 64] and standard deviation σ > 0 [B, 64] of the embedding."""

    def __init__(self, width: int = 128, heads: int = 4, hidden: int = 512, layers: int = 3) -> None:
        super().__init__()
        self.project = nn.Linear(FEATURES, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, BARS, width))
        self.layers = nn.Sequential(*(TransformerLayer(width, heads, hidden) for _ in range(layers)))
        self.pool = AttentionPooling(width, width // 2)
        self.mu = nn.Linear(width, EMBEDDING)
        self.sigma = nn.Linear(width, EMBEDDING)

    def forward(self, bars: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.pool(self.layers(self.project(bars) + self.positions))
        return self.mu(pooled), F.softplus(self.sigma(pooled))
