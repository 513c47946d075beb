"""Policies of the operators that have bounds, with weights and inputs drawn from a seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from grandopt.signature import Array


class Joined(nn.Module):
    """Two inputs, a layer norm, a residual, a concatenation, a clamp, and probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.side = nn.LayerNorm(48), nn.Linear(48, 96), nn.Linear(32, 96)
        self.second, self.head = nn.Linear(192, 96), nn.Linear(96, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        hidden = torch.relu(self.first(self.norm(x.flatten(1))))
        joined = torch.cat([hidden, torch.tanh(self.side(y.clamp(-2.0, 2.0)))], -1)
        mixed = nn.functional.silu(self.second(joined)) + hidden
        return torch.softmax(self.head(mixed), -1)


def stacked(activation: nn.Module, *, norm: bool = False) -> nn.Module:
    """Three layers with this activation between them."""
    layers: list[nn.Module] = []
    for width in (64, 96, 96):
        layers += [nn.Linear(width, 96), *([nn.LayerNorm(96)] if norm else []), activation]
    return nn.Sequential(*layers, nn.Linear(96, 4))


NETWORKS = {
    "relu": lambda: stacked(nn.ReLU()),
    "tanh": lambda: stacked(nn.Tanh()),
    "elu": lambda: stacked(nn.ELU()),
    "leaky": lambda: stacked(nn.LeakyReLU()),
    "gelu": lambda: stacked(nn.GELU()),
    "sigmoid": lambda: stacked(nn.Sigmoid()),
    "norm": lambda: stacked(nn.ReLU(), norm=True),
    "joined": Joined,
}


def drawn(name: str, seed: int) -> nn.Module:
    """One of NETWORKS with the weights of this seed, trained sizes: some outputs clearly apart."""
    torch.manual_seed(seed)
    network: nn.Module = NETWORKS[name]()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 1.5
    return network.eval()


def observations(name: str, seed: int, count: int) -> tuple[Array, ...]:
    """Inputs of that network, of sizes from 0.01 to 10 from row to row."""
    random = np.random.default_rng(seed)
    shapes = ((6, 8), (32,)) if name == "joined" else ((64,),)
    rows = []
    for shape in shapes:
        size = 10.0 ** random.uniform(-2, 1, (count, *(1,) * len(shape)))
        rows.append((random.standard_normal((count, *shape)) * size).astype(np.float32))
    return tuple(rows)
