"""`shared_policy`: one policy over the embeddings of four upstream agents, mixed by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grandopt.compiler.networks.attention import SelfAttention

EMBEDDINGS = (64, 48, 16, 8)
"""Widths of the structure, tactical, regime and LVN embeddings that the state [136] is made of."""


class SharedPolicy(nn.Module):
    """[B, 136] → action probabilities [B, 2] and the state's value [B, 1]."""

    def __init__(self, token: int = 64, heads: int = 4, hidden: int = 256) -> None:
        super().__init__()
        self.tokens = nn.ModuleList(nn.Linear(width, token) for width in EMBEDDINGS)
        self.attention = SelfAttention(token, heads)
        self.trunk = nn.Sequential(
            nn.Linear(len(EMBEDDINGS) * token, hidden), nn.LayerNorm(hidden), nn.ReLU()
        )
        self.policy = nn.Sequential(nn.Linear(hidden, 2), nn.Softmax(dim=-1))
        self.value = nn.Sequential(
            nn.Linear(hidden, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        parts = state.split(EMBEDDINGS, dim=-1)
        tokens = torch.stack([layer(part) for layer, part in zip(self.tokens, parts, strict=True)], dim=1)
        features = self.trunk(self.attention(tokens).flatten(1))
        return self.policy(features), self.value(features)
