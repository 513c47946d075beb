"""From what a network gives to the action: distributions' means, and the bounds of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from grandopt.compiler.checkpoints.sb3.actions import Rescale
from grandopt.config.schema import AgentConfig, BoundsConfig
from grandopt.errors import CheckpointError

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest value of each element of an action."""


class SideBySide(nn.Module):
    """Several layers over the same features, what they give side by side."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, n] to [B, sum of what the layers give]."""
        return torch.cat([part(features) for part in self.parts], dim=1)


class FirstHalf(nn.Module):
    """The means of a network that gives means and, behind them, as many spreads."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[B, 2 * k] to [B, k]."""
        return given[:, : given.shape[1] // 2]


class BetaMean(nn.Module):
    """The mean of a Beta distribution, of whose two parameters a network gives softplus⁻¹(value - 1)."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[B, 2 * k], all alphas first, to [B, k] within 0 … 1."""
        alpha, beta = (functional.softplus(part) + 1.0 for part in given.chunk(2, dim=1))
        return alpha / (alpha + beta)


class Affine(nn.Module):
    """`value * scale + offset`, element by element."""

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, scale: tuple[float, ...], offset: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, k] to the same shape."""
        return value * self.scale + self.offset


def bounds(agent: AgentConfig, elements: int, path: Path) -> Bounds | None:
    """`agent.bounds` for an action of `elements` numbers; None where none were given, or "none" was.

    Raises CheckpointError where they are of another number of elements.
    """
    if not isinstance(agent.bounds, BoundsConfig):
        return None
    low, high = agent.bounds.each(elements)
    if len(low) != elements or len(high) != elements:
        raise CheckpointError(
            f"{path}: 'bounds' holds {max(len(low), len(high))} numbers, but the action has {elements}"
        )
    return low, high


def rescaled(low: tuple[float, ...], high: tuple[float, ...]) -> list[nn.Module]:
    """The step that brings -1 … 1 to the bounds; none where those are the bounds."""
    unchanged = set(low) == {-1.0} and set(high) == {1.0}
    return [] if unchanged else [Rescale(low, high)]
