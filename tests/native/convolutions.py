"""Random chains of convolutions in one dimension and in two, as agents have them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.native.networks import Apply, Residual, randomised

Size = tuple[int, ...]


class Causal(nn.Module):
    """A dilated convolution that sees no later step, padded on the left, or on both sides and cropped."""

    def __init__(self, channels: int, wide: int, kernel: int, apart: int, crop: bool) -> None:
        super().__init__()
        self.reach, self.crop = (kernel - 1) * apart, crop
        self.layer = nn.Conv1d(channels, wide, kernel, dilation=apart, padding=self.reach if crop else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.crop:
            return self.layer(x)[:, :, : x.shape[-1]].contiguous()
        return self.layer(F.pad(x, (self.reach, 0)))


class Chains(nn.Module):
    """The same input through several chains, each with its own outputs."""

    def __init__(self, chains: list[nn.Module]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(chains)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(chain(x) for chain in self.chains)


def draw_chains(seed: int, count: int = 3) -> tuple[nn.Module, Size]:
    """Several chains over one input, and the shape of it without the batch."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rank = 1 + seed % 2
    shape = (_size(random, 1, 9), *(_size(random, 5, 13) for _ in range(rank)))
    chains: list[nn.Module] = [_chain(random, shape) for _ in range(count)]
    return Chains(chains).eval().requires_grad_(False), shape


def _size(random: np.random.Generator, low: int, high: int) -> int:
    return int(random.integers(low, high + 1))


def _chain(random: np.random.Generator, shape: Size) -> nn.Module:
    layers: list[nn.Module] = []
    current = shape
    for _ in range(_size(random, 1, 5)):
        layer = _layer(random, current)
        layers.append(layer)
        current = _shape(layer, current)
    layers.append(_tail(random, current))
    return nn.Sequential(*layers)


def _shape(layer: nn.Module, shape: Size) -> Size:
    with torch.no_grad():
        return tuple(layer.eval()(torch.zeros(2, *shape)).shape[1:])


def _layer(random: np.random.Generator, shape: Size) -> nn.Module:
    channels, rank = shape[0], len(shape) - 1
    kind = str(random.choice(["plain", "plain", "causal", "residual", "norm", "act", "scale", "pool", "up"]))
    match kind:
        case "causal" if rank == 1:
            return Causal(
                channels,
                _size(random, 1, 40),
                _size(random, 1, 4),
                _size(random, 1, 5),
                bool(random.integers(2)),
            )
        case "residual":
            return Residual(nn.Sequential(_keeping(random, channels, rank), nn.ReLU()))
        case "norm":
            return randomised(nn.BatchNorm1d(channels) if rank == 1 else nn.BatchNorm2d(channels))
        case "act":
            return nn.ReLU() if random.integers(2) else nn.Tanh()
        case "scale":
            return Apply(lambda x: x / 4)
        case "pool":
            return nn.MaxPool1d(2, padding=1) if rank == 1 else nn.AvgPool2d(2, stride=1, padding=1)
        case "up":
            width, step = _size(random, 1, 9), _size(random, 1, 2)
            make = nn.ConvTranspose1d if rank == 1 else nn.ConvTranspose2d
            return make(channels, width, 2, stride=step)
    return _plain(random, channels, shape[1:])


def _plain(random: np.random.Generator, channels: int, spatial: Size) -> nn.Module:
    kernel = [_size(random, 1, min(4, n)) for n in spatial]
    apart = [
        _size(random, 1, min(3, max(1, (n - 1) // max(1, k - 1))))
        for n, k in zip(spatial, kernel, strict=True)
    ]
    padding = [_size(random, 0, (k - 1) * a) for k, a in zip(kernel, apart, strict=True)]
    stride = [_size(random, 1, 3) for _ in spatial]
    groups = int(random.choice([n for n in (1, 1, 2, channels) if channels % n == 0]))
    wide = channels if groups == channels and random.integers(2) else groups * _size(random, 1, 40)
    layer = nn.Conv1d if len(spatial) == 1 else nn.Conv2d
    return layer(
        channels, wide, kernel, stride=stride, padding=padding, dilation=apart, groups=groups,
        bias=bool(random.integers(4)),
    )  # fmt: skip


def _keeping(random: np.random.Generator, channels: int, rank: int) -> nn.Module:
    """A convolution that keeps the shape."""
    if rank == 1 and random.integers(2):
        return Causal(channels, channels, _size(random, 2, 3), _size(random, 1, 4), bool(random.integers(2)))
    layer = nn.Conv1d if rank == 1 else nn.Conv2d
    groups = channels if random.integers(2) else 1
    return layer(channels, channels, 3, padding=1, groups=groups)


def _tail(random: np.random.Generator, shape: Size) -> nn.Module:
    match int(random.integers(6)):
        case 0:
            return Apply(lambda x: x[..., -1])
        case 1:
            return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 7))
        case 2:
            return Apply(lambda x: x[..., ::2] if x.shape[-1] > 1 else x)
        case 3:
            return Apply(lambda x: torch.cat([x[..., -1], x[..., 0] * 2], 1))
        case 4:
            return Apply(lambda x: x.flatten(2).mean(-1))
    return nn.Identity()
