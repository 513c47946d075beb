"""Networks that together have every kind of layer, and their export with a batch of any size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn import functional as F


class Elementwise(nn.Module):
    """A function as a network."""

    def __init__(self, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.call(state)


class Attention(nn.Module):
    """Embedded steps [6, 5], attention over them, LayerNorm, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(5, 16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        tokens = F.gelu(self.embed(steps))
        mixed, _ = self.attention(tokens, tokens, tokens)
        return self.norm(tokens + mixed).mean(1)


class Steps(nn.Module):
    """A GRU, or an LSTM in both directions, over [5, 4], and a head."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], *, both: bool) -> None:
        super().__init__()
        self.cell = cell(4, 8, batch_first=True, bidirectional=both)
        self.head = nn.Linear(16 if both else 8, 2)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        out, _ = self.cell(window)
        return torch.softmax(self.head(out[:, -1]), dim=-1)


class Pixels(nn.Module):
    """Convolutions with every setting, pools, and a head over frames [3, 17, 13]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(1, 2)),
            nn.LeakyReLU(0.1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 6, 3, padding=2, dilation=2, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2, stride=1),
            nn.Flatten(),
        )
        self.head = nn.LazyLinear(4)
        self(torch.zeros(1, 3, 17, 13))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(frames))


class Causal(nn.Module):
    """Two causal convolutions with a residual over [3, 12], and the last step's head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3, dilation=2)
        self.head = nn.Linear(8, 2)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(F.pad(window, (2, 0))))
        hidden = hidden + torch.relu(self.second(F.pad(hidden, (4, 0))))
        return self.head(hidden[:, :, -1])


class Heads(nn.Module):
    """Two inputs, many functions, outputs joined, halved, broadcast and scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 64), nn.Linear(4, 64, bias=False)
        self.out = nn.Linear(128, 8)

    def forward(self, state: torch.Tensor, goal: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = torch.cat([torch.tanh(self.left(state)), F.silu(self.right(goal))], -1)
        mean, spread = self.out(hidden).chunk(2, -1)
        scaled = (1 - mean.clamp(-0.5, 0.5)) / (F.softplus(spread) + 0.1).sqrt()
        column = torch.sigmoid(state[:, :1]).expand(-1, 3)
        extreme = torch.maximum(F.elu(mean), -spread.abs()).amax(-1, keepdim=True)
        return scaled, F.log_softmax(spread, -1), column, extreme.reciprocal(), (mean**2).sum(-1).exp()


def _seeded(
    make: Callable[[], nn.Module], *shapes: tuple[int, ...]
) -> Callable[[], tuple[nn.Module, list[tuple[int, ...]]]]:
    def made() -> tuple[nn.Module, list[tuple[int, ...]]]:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return make().eval().requires_grad_(False), [*shapes]

    return made


NETWORKS = {
    "attention": _seeded(Attention, (6, 5)),
    "gru": _seeded(lambda: Steps(nn.GRU, both=False), (5, 4)),
    "lstm": _seeded(lambda: Steps(nn.LSTM, both=True), (5, 4)),
    "pixels": _seeded(Pixels, (3, 17, 13)),
    "causal": _seeded(Causal, (3, 12)),
    "heads": _seeded(Heads, (6,), (4,)),
    "softmax": _seeded(lambda: Elementwise(lambda x: F.softmax(x, 1)), (4, 3)),
}


def exported(network: nn.Module, shapes: Sequence[tuple[int, ...]]) -> ExportedProgram:
    """The network as a program of torch.export, for any batch."""
    example = tuple(torch.zeros((2, *shape)) for shape in shapes)
    sizes = tuple({0: torch.export.Dim("batch", min=1, max=1024)} for _ in shapes)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own code
        return torch.export.export(network, example, dynamic_shapes=sizes)
