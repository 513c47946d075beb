"""From what the network gives to the deterministic action: the end of SB3's `predict`."""

from __future__ import annotations

import math

import torch
from torch import nn

from grandopt.compiler.checkpoints.sb3.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from grandopt.errors import CheckpointError
from grandopt.signature import Contract


class ArgMax(nn.Module):
    """The index of the largest score."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """[B, n] to int64 [B]."""
        return scores.argmax(dim=-1)


class GroupArgMax(nn.Module):
    """The index of the largest score in each of several groups."""

    def __init__(self, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.groups = list(groups)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """[B, sum(groups)] to int64 [B, len(groups)]."""
        return torch.stack([group.argmax(dim=-1) for group in scores.split(self.groups, dim=-1)], dim=-1)


class Bits(nn.Module):
    """One bit per score, set where the score (a logit) is positive: where it is likelier than not."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """[B, n] to int64 [B, n]."""
        return (scores > 0).to(torch.int64)


class Clip(nn.Module):
    """The action held within its bounds, one pair for all elements or one per element."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        super().__init__()
        self.uniform = (low[0], high[0]) if len(set(low)) == len(set(high)) == 1 else None
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    def forward(self, action: torch.Tensor) -> torch.Tensor:
        """[B, k] to the same shape."""
        if self.uniform is not None:
            return action.clamp(*self.uniform)
        return action.clamp(self.low, self.high)


class Rescale(nn.Module):
    """A value within -1 … 1 brought to within the bounds: `low + (value + 1) / 2 * (high - low)`."""

    middle: torch.Tensor
    reach: torch.Tensor

    def __init__(self, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        super().__init__()
        lowest, highest = torch.tensor(low), torch.tensor(high)
        self.register_buffer("middle", (lowest + highest) / 2)
        self.register_buffer("reach", (highest - lowest) / 2)
        self.centred = bool((self.middle == 0).all())

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, k] to the same shape."""
        scaled = value * self.reach
        return scaled if self.centred else scaled + self.middle


def width(space: Space, where: str) -> int:
    """How many numbers the network gives for an action of `space`."""
    match space:
        case Box(shape=shape) | MultiBinary(shape=shape):
            return math.prod(shape)
        case Discrete(n):
            return n
        case MultiDiscrete(nvec):
            return sum(nvec)
    raise CheckpointError(f"{where}: actions cannot be of a Dict space")


def head(space: Space, *, squashed: bool, where: str) -> tuple[list[nn.Module], Contract]:
    """The steps from the network's output [B, `width`] to the action, and what the action means.

    Discrete gives int64 [B], MultiDiscrete int64 [B, k], MultiBinary int64 [B, *shape], Box floats
    [B, *shape] within its bounds; `squashed` says that a tanh stands between the network and them. Raises
    CheckpointError when the bounds of a Box are not in the zip's text.
    """
    match space:
        case Discrete(n):
            return [ArgMax()], Contract("argmax", groups=(n,))
        case MultiDiscrete(nvec):
            return [GroupArgMax(nvec)], Contract("argmax", groups=nvec)
        case MultiBinary(shape):
            return [Bits(), *_shaped(shape)], Contract("binary")
        case Box():
            return _continuous(space, squashed, where)
    raise CheckpointError(f"{where}: actions cannot be of a Dict space")


def _continuous(space: Box, squashed: bool, where: str) -> tuple[list[nn.Module], Contract]:
    if space.low is None or space.high is None:
        raise CheckpointError(f"{where}: the bounds of the action space are not in the zip's text")
    elements = math.prod(space.shape)
    low, high = (
        bound if isinstance(bound, tuple) else (bound,) * elements for bound in (space.low, space.high)
    )
    finite = all(map(math.isfinite, low + high))
    steps: list[nn.Module] = []
    if squashed:
        if not finite:
            raise CheckpointError(f"{where}: a squashed action needs finite bounds, got {low} … {high}")
        steps.append(nn.Tanh())
        if set(low) != {-1.0} or set(high) != {1.0}:
            steps.append(Rescale(low, high))
    elif any(map(math.isfinite, low + high)):
        steps.append(Clip(low, high))
    contract = Contract(
        "continuous", low=low if finite else None, high=high if finite else None, squashed=squashed
    )
    return [*steps, *_shaped(space.shape)], contract


def _shaped(shape: tuple[int, ...]) -> list[nn.Module]:
    return [] if len(shape) == 1 else [nn.Unflatten(1, shape) if shape else nn.Flatten(0)]
