"""What frameworks do to observations before their networks see them, one function for each formula.

Each of them subtracts a mean and divides; they differ in what they divide by, which is decided here once,
in float32, as they do it: statistics that a framework keeps in float64 it casts before it computes.

| framework | divides by | clips at | where its source says so |
| --- | --- | --- | --- |
| RSL-RL 2 to 5 | std + 0.01 | – | `EmpiricalNormalization.forward` |
| rl_games | sqrt(var + 1e-5) | 5 | `RunningMeanStd.forward` |
| skrl | sqrt(var) + 1e-8 | 5 | `RunningStandardScaler` |
"""

from __future__ import annotations

import math

import torch
from torch import nn

from grandopt.errors import CheckpointError
from grandopt.signature import Moments


class Normaliser(nn.Module):
    """`(observation - mean) / divisor`, held within ±`clip` where that is finite."""

    mean: torch.Tensor
    divisor: torch.Tensor

    def __init__(self, mean: torch.Tensor, divisor: torch.Tensor, clip: float = math.inf) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("divisor", divisor)
        self.clip = clip

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """[B, *shape] raw to [B, *shape] normalised."""
        scaled = (observation - self.mean) / self.divisor
        return scaled.clamp(-self.clip, self.clip) if math.isfinite(self.clip) else scaled

    def moments(self) -> Moments:
        """What the observations were distributed like that the statistics are of."""
        mean, spread = (tuple(part.double().flatten().tolist()) for part in (self.mean, self.divisor))
        return Moments(mean, spread, self.clip)


def beside_deviation(
    mean: torch.Tensor, std: torch.Tensor, epsilon: float, where: str, clip: float = math.inf
) -> Normaliser:
    """`(x - mean) / (std + epsilon)`; raises CheckpointError for what are no statistics of observations."""
    mean, std = _statistics(mean, std, where)
    return _divided_by(mean, std + epsilon, where, clip)


def outside_root(
    mean: torch.Tensor, var: torch.Tensor, epsilon: float, where: str, clip: float = math.inf
) -> Normaliser:
    """`(x - mean) / (sqrt(var) + epsilon)`; raises CheckpointError like `beside_deviation`."""
    mean, var = _statistics(mean, var, where)
    return _divided_by(mean, torch.sqrt(var) + epsilon, where, clip)


def inside_root(
    mean: torch.Tensor, var: torch.Tensor, epsilon: float, where: str, clip: float = math.inf
) -> Normaliser:
    """`(x - mean) / sqrt(var + epsilon)`; raises CheckpointError like `beside_deviation`."""
    mean, var = _statistics(mean, var, where)
    return _divided_by(mean, torch.sqrt(var + epsilon), where, clip)


def _statistics(mean: torch.Tensor, spread: torch.Tensor, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    shapes = f"{list(mean.shape)} and {list(spread.shape)}"
    if mean.shape != spread.shape or not mean.is_floating_point() or not spread.is_floating_point():
        raise CheckpointError(f"{where}: mean and spread of shapes {shapes} are no statistics")
    finite = bool(torch.isfinite(mean).all()) and bool(torch.isfinite(spread).all())
    if not finite or bool((spread < 0).any()):
        raise CheckpointError(f"{where}: the statistics hold NaN, inf or a negative spread")
    return mean.to(torch.float32), spread.to(torch.float32)


def _divided_by(mean: torch.Tensor, divisor: torch.Tensor, where: str, clip: float) -> Normaliser:
    if not bool((divisor > 0).all()):
        raise CheckpointError(f"{where}: an observation would be divided by a deviation of 0")
    return Normaliser(mean, divisor, clip)
