"""The ten networks, and their weights in the order in which `eigen.hpp` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from grandopt.signature import Array

STEPS = 16
"""Of the recurrent networks; TCN has twice as many."""


class Recurrent(nn.Module):
    """A GRU or an LSTM over [16, 32], and a head for 4 from its last step."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], hidden: int) -> None:
        super().__init__()
        self.cell, self.head = cell(32, hidden, batch_first=True), nn.Linear(hidden, 4)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        out, _ = self.cell(window)
        return self.head(out[:, -1])


class Tcn(nn.Module):
    """Four causal convolutions over [32, 32], dilated by 1, 2, 4, 8, with residuals, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Conv1d(32, 32, 3, dilation=2**n) for n in range(4))
        self.head = nn.Linear(32, 4)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        hidden = window
        for place, layer in enumerate(self.body):
            hidden = hidden + torch.relu(layer(F.pad(hidden, (2 ** (place + 1), 0))))
        return self.head(hidden[:, :, -1])


@dataclass(frozen=True)
class Network:
    """A network, the shape of one observation, and the expression that makes it in C++."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    cpp: str


def _mlp(*widths: int) -> Network:
    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return Network(make, (widths[0],), f"Mlp{{{', '.join(map(str, widths))}}}")


NETWORKS = {
    "tiny": _mlp(5, 16, 8),
    "gate": _mlp(152, 64, 32, 2),
    "mlp27": _mlp(27, 64, 64, 8),
    "mlp17": _mlp(17, 256, 256, 6),
    "mlp136": _mlp(136, 256, 128, 3),
    "mlp48": _mlp(48, 128, 128, 64, 12),
    "wide": _mlp(512, 512, 512),
    "gru": Network(lambda: Recurrent(nn.GRU, 64), (STEPS, 32), "Gru(32, 64, 4, 16)"),
    "lstm": Network(lambda: Recurrent(nn.LSTM, 256), (STEPS, 32), "Lstm(32, 256, 4, 16)"),
    "tcn": Network(Tcn, (32, 2 * STEPS), "Tcn(32, 4, 4, 32)"),
}


def seeded(name: str) -> nn.Module:
    """The network in eval mode; the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return NETWORKS[name].make().eval().requires_grad_(False)


def weights(network: nn.Module) -> Array:
    """All parameters in one row: matrices column by column, a convolution's one tap after the other."""
    return np.concatenate([array.reshape(-1) for array in _ordered(network)]).astype(np.float32)


def _ordered(network: nn.Module) -> Iterator[Array]:
    for parameter in network.parameters():
        array = parameter.numpy()
        if array.ndim == 2:
            yield array.T
        elif array.ndim == 3:
            yield array.transpose(2, 1, 0)
        else:
            yield array
