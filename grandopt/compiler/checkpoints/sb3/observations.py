"""From a raw observation to the features that the network takes: SB3's preprocessing as modules.

Each module turns one observation [B, *shape] of the space's dtype into float features [B, n] (or an image
[B, C, H, W]). The float dtype is that of the module's buffers, so that a module converted to float64 works
in float64 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from grandopt.compiler.checkpoints.sb3.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Simple
from grandopt.compiler.checkpoints.sb3.statistics import Statistics
from grandopt.errors import CheckpointError
from grandopt.signature import DTYPES, Bound, TensorSpec

SANE_BOUND = 1e6
"""A larger bound (Gym writes 3.4e38 for "none") says nothing about the observations to expect."""


def spec(name: str, space: Simple, *, normalised: bool) -> TensorSpec:
    """The input that takes observations of `space`.

    Floating-point spaces become float32 inputs, as SB3 converts them before its network; only a float64 space
    that is `normalised` first keeps its digits, because means are subtracted from them. Images keep uint8
    and the layout of the space in the zip, which is channels first [C, H, W]: SB3 transposes the images of
    the environment before it trains. Bounds are declared where all of them are finite and sane.
    """
    match space:
        case Box():
            exact = normalised and space.dtype == "float64"
            dtype = "float32" if space.dtype.startswith("float") and not exact else space.dtype
            if dtype not in DTYPES:
                raise CheckpointError(f"{name}: observations of dtype {dtype} are not supported")
            low, high = _declared(space.low), _declared(space.high)
            return TensorSpec(name, space.shape, dtype, low, high)
        case Discrete(n):
            return TensorSpec(name, (), "int64", 0.0, float(n - 1))
        case MultiDiscrete(nvec):
            return TensorSpec(name, (len(nvec),), "int64", 0.0, tuple(float(n - 1) for n in nvec))
        case MultiBinary(shape):
            return TensorSpec(name, shape, "int8", 0.0, 1.0)


def _declared(bound: float | tuple[float, ...] | None) -> Bound:
    if bound is None:
        return None
    values = np.abs(np.asarray(bound, dtype=np.float64))
    return bound if bool((values <= SANE_BOUND).all()) else None


class Normalise(nn.Module):
    """`clip((raw - mean) / sqrt(var + epsilon), -clip, clip)` with fixed statistics, as SB3 computes it: in
    float64, whatever the observation is, and float32 from there on."""

    mean: torch.Tensor
    scale: torch.Tensor
    given: torch.Tensor

    def __init__(self, statistics: Statistics, epsilon: float, clip: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(statistics.mean))
        self.register_buffer("scale", torch.from_numpy(1.0 / np.sqrt(statistics.var + epsilon)))
        self.register_buffer("given", torch.zeros((), dtype=torch.float32))  # whose dtype the network takes
        self.clip = clip

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """[B, *shape] raw to [B, *shape] normalised."""
        centred = observation.to(self.mean.dtype) - self.mean
        return (centred * self.scale).clamp(-self.clip, self.clip).to(self.given.dtype)


class ToFloat(nn.Module):
    """Whole numbers to floats, divided by `divisor` (255 for images, which SB3 brings to 0 … 1)."""

    divisor: torch.Tensor

    def __init__(self, divisor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("divisor", torch.tensor(divisor))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """[B, *shape] to the same shape."""
        return observation.to(self.divisor.dtype) / self.divisor


class OneHot(nn.Module):
    """One-hot features [B, sum(nvec)] of one number [B] or of several [B, k].

    A number outside its range sets no feature at all; SB3 would refuse it.
    """

    column: torch.Tensor
    number: torch.Tensor
    one: torch.Tensor

    def __init__(self, nvec: tuple[int, ...]) -> None:
        super().__init__()
        sizes = torch.tensor(nvec)
        self.register_buffer("column", torch.repeat_interleave(torch.arange(len(nvec)), sizes))
        self.register_buffer("number", torch.cat([torch.arange(n) for n in nvec]))
        self.register_buffer("one", torch.tensor(1.0))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """[B] or [B, k] whole numbers to [B, sum(nvec)]."""
        numbers = observation.unsqueeze(-1) if observation.dim() == 1 else observation
        return (numbers.index_select(1, self.column) == self.number).to(self.one.dtype)


@dataclass(frozen=True)
class EncoderOptions:
    """What holds for all observations of an agent; `where` names its statistics in errors."""

    where: str
    scale_images: bool = True
    epsilon: float = 0.0
    clip: float = math.inf


def encoder(space: Simple, statistics: Statistics | None, options: EncoderOptions) -> list[nn.Module]:
    """The steps from an observation of `space` to what the features extractor takes, in order.

    Raises CheckpointError when the statistics are of another shape or belong to a space without numbers.
    """
    steps: list[nn.Module] = []
    if statistics is not None:
        if not isinstance(space, Box) or statistics.mean.shape != space.shape:
            shown = list(space.shape) if isinstance(space, Box) else type(space).__name__
            raise CheckpointError(
                f"{options.where}: the statistics are of shape {list(statistics.mean.shape)}, the agent's "
                f"observation is {shown} (stacked frames?); set 'vecnormalize: none' and normalise yourself"
            )
        steps.append(Normalise(statistics, options.epsilon, options.clip))
    match space:
        case Box() if space.is_image and options.scale_images:
            steps.append(ToFloat(255.0))
        case Box() if statistics is None and not space.dtype.startswith("float"):
            steps.append(ToFloat())
        case Discrete(n):
            steps.append(OneHot((n,)))
        case MultiDiscrete(nvec):
            steps.append(OneHot(nvec))
        case MultiBinary():
            steps.append(ToFloat())
    return steps
