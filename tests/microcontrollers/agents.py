"""Small agents as people deploy them on microcontrollers, captured as programs."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.signature import Array, Contract, StateTensor


class Actor(nn.Module):
    """Three hidden layers, of which two are ReLU: [24] to [4]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(),
            nn.Linear(64, 4), nn.Tanh(),
        )  # fmt: skip

    def forward(self, obs: Tensor) -> Tensor:
        return self.layers(obs)


class Remembering(nn.Module):
    """A GRU cell whose state the host keeps: [6] and a state [32] to [3] and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 32), nn.Linear(32, 3)

    def forward(self, obs: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        after = self.cell(obs, h)
        return self.head(after), after


class Sequence(nn.Module):
    """Two directions of an LSTM and of a GRU, a norm, and GELU: [6, 16] to [3]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.second = nn.GRU(48, 16, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, window: Tensor) -> Tensor:
        seen = self.second(self.first(window)[0])[0]
        return functional.gelu(self.head(self.norm(seen.mean(1))))


class Camera(nn.Module):
    """Convolutions, one of them depthwise, a pooling, and log probabilities: uint8 [3, 16, 16] to [4]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ELU(), nn.Conv2d(8, 8, 3, groups=8, padding=1),
            nn.SiLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image.float() / 255).log_softmax(-1)


class Attending(nn.Module):
    """Attention over [5, 16] with a mask, and the index of the best of three."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.triu(torch.full((5, 5), float("-inf")), 1)
        seen = self.attention(tokens, tokens, tokens, attn_mask=mask, need_weights=False)[0]
        scores = self.head(seen[:, -1])
        return scores, scores.argmax(-1)


class Functions(nn.Module):
    """Everything that plain C computes of single numbers and of rows: [9]."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            x.sin(), x.cos(), x.abs().sqrt(), x.abs().add(0.1).rsqrt(), x.floor(), x.ceil(), x.round(),
            x.trunc(), x.sign(), x.exp(), x.expm1(), x.tanh(), x.sigmoid(), x.erf(), (x.abs() + 1e-3).log(),
            x.abs().log1p(), functional.gelu(x), functional.softplus(x), functional.elu(x), x.clamp(-1, 1),
            functional.pad(x, (1, 2), value=0.5), x > 0, x.to(torch.int64), x.to(torch.uint8), x.square(),
            x.argmax(-1), x.argmin(-1), x.amax(-1), x.amin(-1), x.sum(-1), x.mean(-1), x.prod(-1),
            (x > 0).any(-1), (x > 0).all(-1), x.softmax(-1), torch.minimum(x, -x),
            torch.where(x > 0, x, 2 * x),
            x.to(torch.int64).abs().clamp(max=3), x.to(torch.int64).amax(-1), x.flip(-1), x.roll(2, -1),
            x[:, [4, 0, 2]], torch.slice_scatter(x, 2 * x[:, :3], 1, 2, 8, 2),
        )  # fmt: skip


class Normalised(nn.Module):
    """A policy behind statistics in float64, as Stable-Baselines3 keeps them: [6]."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.register_buffer("mean", torch.linspace(-2, 3, 6, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        seen = ((x.double() - self.mean) / 1.7).clamp(-1.5, 1.5)
        return self.head((seen.abs() + seen.relu()).float())


class Sorting(nn.Module):
    """What plain C has not."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(-1).values


EXAMPLES: dict[type[nn.Module], dict[str, Array]] = {
    Actor: {"obs": np.zeros((2, 24), np.float32)},
    Remembering: {"obs": np.zeros((2, 6), np.float32), "h": np.zeros((2, 32), np.float32)},
    Sequence: {"window": np.zeros((2, 6, 16), np.float32)},
    Camera: {"image": np.zeros((2, 3, 16, 16), np.uint8)},
    Attending: {"tokens": np.zeros((2, 5, 16), np.float32)},
    Functions: {"x": np.zeros((2, 9), np.float32)},
    Normalised: {"x": np.zeros((2, 6), np.float32)},
    Sorting: {"x": np.zeros((2, 9), np.float32)},
}


@cache
def program(kind: type[nn.Module]) -> Program:
    """The captured program of one of the networks above, with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = kind()
    made = capture(from_module(kind.__name__.lower(), module, EXAMPLES[kind]), 0)
    if kind is not Remembering:
        return made
    after = made.signature.outputs[1].name
    initial = tuple(float(value) for value in np.linspace(-0.5, 0.5, 32))
    return made.but(contract=Contract(state=(StateTensor("h", after, initial),)))
