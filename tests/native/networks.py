"""Random networks over the operators that the native engine covers.

A network is a chain of layers drawn by a seeded generator. Each layer takes and gives a float32 tensor
[B, ...]; which ones may follow depends on the rank, so that every draw is a valid network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[[Tensor], Tensor]


class Chain(nn.Module):
    """The layers one after another; some also return a second output."""

    def __init__(self, layers: list[nn.Module], tail: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        for layer in self.layers:
            x = layer(x)
        flat = x.flatten(1)
        match self.tail:
            case "scores":
                return torch.softmax(flat, -1), flat.argmax(-1)
            case "value":
                return x, flat.sum(-1, keepdim=True)
            case "clip":
                return flat.clamp(-0.5, 0.75)
        return x


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Layer) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """x + layer(x), the layer keeping the shape."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


class Affine(nn.Module):
    """x · scale + shift along the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width) + 0.5)
        self.shift = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Attention(nn.Module):
    """Self-attention over [B, S, D] in one of the ways it is written."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.merge(mixed.transpose(1, 2).flatten(2))


Kind = type[nn.LSTM] | type[nn.GRU] | Callable[..., nn.RNN]
CELLS: tuple[Kind, ...] = (nn.LSTM, nn.GRU, nn.RNN, functools.partial(nn.RNN, nonlinearity="relu"))


class Recurrent(nn.Module):
    """An LSTM, GRU or plain RNN, giving all steps, or the last states side by side."""

    def __init__(self, kind: Kind, width: int, hidden: int, layers: int, both: bool, last: bool):
        super().__init__()
        self.cell = kind(width, hidden, num_layers=layers, bidirectional=both, batch_first=True)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        steps, state = self.cell(x)
        if not self.last:
            return steps
        states = torch.cat(state, dim=0) if isinstance(state, tuple) else state
        return states.transpose(0, 1).flatten(1)


ACTIVATIONS: tuple[Layer, ...] = (
    F.relu, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.elu, F.leaky_relu, F.softplus, F.mish, F.hardtanh,
    F.hardswish, F.hardsigmoid, F.selu, F.softsign, F.tanhshrink, torch.erf, torch.cos, torch.square,
    lambda x: F.gelu(x, approximate="tanh"), lambda x: x.abs().add(0.1).log(), lambda x: (-x.abs()).exp(),
    lambda x: x.abs().add(1e-3).sqrt(), lambda x: 1.0 / (1.5 + x.abs()), lambda x: x.abs().add(0.2).rsqrt(),
    lambda x: torch.where(x > 0.1, x * 2, x - 1), lambda x: x.clamp(min=-0.3),
    lambda x: torch.minimum(x, x * 0.5),
    lambda x: (x > 0).to(x.dtype) + (x <= -0.2) * 0.5, lambda x: x.pow(3) * 0.1,
    lambda x: torch.log1p(x.abs()),
    lambda x: x - x.mean(-1, keepdim=True), lambda x: x / (x.norm(dim=-1, keepdim=True) + 1.0),
    lambda x: torch.expm1(x * 0.3), lambda x: torch.round(x * 4) / 4, lambda x: torch.floor(x * 0.7) + x,
)  # fmt: skip


def draw(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network and the shape of its input without the batch."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    kind = random.choice(["vector", "vector", "sequence", "image"])
    size = lambda low, high: int(random.integers(low, high + 1))  # noqa: E731
    shape = {
        "vector": (size(1, 200),),
        "sequence": (size(2, 20), size(2, 24)),
        "image": (size(1, 4), size(8, 16), size(8, 16)),
    }[str(kind)]
    layers: list[nn.Module] = []
    current = shape
    for _ in range(size(1, 6)):
        layer = _layer(random, size, current)
        layers.append(layer)
        with torch.no_grad():
            current = tuple(layer.eval()(torch.zeros(2, *current)).shape[1:])
    tail = str(random.choice(["plain", "scores", "value", "clip"]))
    return Chain(layers, tail).eval().requires_grad_(False), shape


Size = Callable[[int, int], int]


def _layer(random: np.random.Generator, size: Size, shape: tuple[int, ...]) -> nn.Module:
    options = {1: _vector_layer, 2: _sequence_layer, 3: _image_layer}
    if random.random() < 0.35:
        return Apply(ACTIVATIONS[int(random.integers(len(ACTIVATIONS)))])
    return options[len(shape)](random, size, shape)


def _vector_layer(random: np.random.Generator, size: Size, shape: tuple[int, ...]) -> nn.Module:
    (width,) = shape
    cut = size(1, width)
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Linear(width, size(1, 150)),
        lambda: nn.Linear(width, size(1, 6)),
        lambda: nn.Linear(width, 64 * size(1, 3), bias=False),
        lambda: nn.LayerNorm(width) if width > 1 else nn.Identity(),
        lambda: nn.RMSNorm(width),
        lambda: randomised(nn.BatchNorm1d(width)),
        lambda: Affine(width),
        lambda: Residual(nn.Sequential(nn.Linear(width, width), nn.ReLU())),
        lambda: nn.Sequential(nn.Dropout(0.2), nn.Softmax(-1)),
        lambda: Apply(lambda x: F.log_softmax(x, -1) * 0.1),
        lambda: Apply(lambda x: torch.cat([x, x.tanh(), x[:, :cut]], dim=1)),
        lambda: Apply(lambda x: x[:, :cut:2] if cut > 1 else x),
        lambda: Apply(lambda x: x.flip(-1) + x),
        lambda: Apply(lambda x: torch.stack([x, -x], dim=1)),
        lambda: Apply(lambda x: F.pad(x, (1, 2), value=0.5)),
        lambda: Apply(lambda x: x.unsqueeze(1).expand(-1, 3, -1)),
        lambda: Apply(lambda x: torch.roll(x, 1, -1) * 0.5),
        lambda: Apply(lambda x: x[:, torch.arange(width - 1, -1, -1)]),
    ]
    return choices[int(random.integers(len(choices)))]()


def _sequence_layer(random: np.random.Generator, size: Size, shape: tuple[int, ...]) -> nn.Module:
    steps, width = shape
    heads = next(h for h in (4, 3, 2, 1) if width % h == 0)
    both, last = bool(random.integers(2)), bool(random.integers(2))
    kind = CELLS[int(random.integers(len(CELLS)))]
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Linear(width, size(1, 80)),
        lambda: nn.LayerNorm(width) if width > 1 else nn.Identity(),
        lambda: nn.LayerNorm([steps, width]),
        lambda: Residual(Attention(width, heads, bool(random.integers(2)))),
        lambda: Recurrent(kind, width, size(1, 40), size(1, 2), both, last),
        lambda: nn.Conv1d(steps, size(1, 20), 3, padding=1),
        lambda: Apply(lambda x: x.transpose(1, 2)),
        lambda: Apply(lambda x: x.mean(1)),
        lambda: Apply(lambda x: x.amax(2)),
        lambda: Apply(lambda x: x.var(1) if steps > 1 else x[:, 0]),
        lambda: Apply(lambda x: torch.softmax(x, 1)),
        lambda: Apply(lambda x: x @ x.transpose(1, 2) * 0.1),
        lambda: Apply(lambda x: x[:, -1]),
        lambda: Apply(lambda x: x.flatten(1)),
        lambda: Apply(lambda x: x.logsumexp(-1)),
        lambda: Apply(lambda x: torch.cat([x[:, :1], x], dim=1)),
        lambda: Apply(lambda x: (torch.softmax(x[..., :1], 1) * x).sum(1)),
        lambda: Apply(lambda x: x.reshape(x.shape[0], width, steps)),
    ]
    return choices[int(random.integers(len(choices)))]()


def _image_layer(random: np.random.Generator, size: Size, shape: tuple[int, ...]) -> nn.Module:
    channels, height, _ = shape
    kernel, stride = size(1, min(3, height, shape[2])), size(1, 2)
    groups = channels if channels > 1 and random.integers(2) else 1
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Conv2d(channels, size(1, 20), kernel, stride=stride, padding=size(0, kernel - 1)),
        lambda: nn.Conv2d(channels, channels * 2, kernel, groups=groups),
        lambda: nn.Sequential(nn.Conv2d(channels, 8, kernel), randomised(nn.BatchNorm2d(8)), nn.ReLU()),
        lambda: nn.MaxPool2d(kernel),
        lambda: nn.AvgPool2d(kernel, stride=stride),
        lambda: nn.AdaptiveAvgPool2d(1),
        lambda: nn.GroupNorm(1, channels) if channels * height > 1 else nn.Identity(),
        lambda: Apply(lambda x: x.permute(0, 2, 3, 1)),
        lambda: Apply(lambda x: x.flatten(2)),
        lambda: Apply(lambda x: x.mean((2, 3))),
        lambda: Apply(lambda x: x / 255.0),
    ]
    return choices[int(random.integers(len(choices)))]()


def randomised(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """Batch norm as after training: its statistics are not 0 and 1."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm
