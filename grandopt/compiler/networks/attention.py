"""Multi-head self-attention and attention pooling, from plain layers.

`nn.MultiheadAttention` is not used: its eval fast path reads the weights of its layers directly, which
neither the dynamic quantizer nor a pass that replaces layers survives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention (Vaswani et al. 2017) over [B, steps, width].

    With `window` and `steps`, a step attends only to itself and the `window - 1` steps before it.
    """

    mask: Tensor | None

    def __init__(self, width: int, heads: int, window: int | None = None, steps: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        mask = None if window is None else recent_steps(steps, window)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.project(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.mask)
        return self.merge(mixed.transpose(1, 2).flatten(2))


class AttentionPooling(nn.Module):
    """The weighted mean over the steps of [B, steps, width], weights from a learned score: [B, width]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        weights = torch.softmax(self.score(tokens), dim=1)
        return (weights * tokens).sum(dim=1)


def recent_steps(steps: int, window: int) -> Tensor:
    """The mask [steps, steps] that is true where the column is one of the last `window` up to the row."""
    position = torch.arange(steps)
    distance = position[:, None] - position[None, :]
    return (distance >= 0) & (distance < window)
