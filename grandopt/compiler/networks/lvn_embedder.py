"""`lvn_embedder`: an embedding of the nearest low-volume node of the volume profile."""

from __future__ import annotations

from torch import Tensor, nn

FEATURES, EMBEDDING = 5, 8


class LvnEmbedder(nn.Module):
    """[B, 5] → embedding [B, 8], not negative."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(FEATURES, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, EMBEDDING),
            nn.LayerNorm(EMBEDDING),
            nn.ReLU(),
        )

    def forward(self, node: Tensor) -> Tensor:
        return self.net(node)
