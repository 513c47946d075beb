"""Long sums round no more than torch's: they are taken in parts, or by several accumulators."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.config.engines import NativeOptions
from grandopt.signature import Array
from tests.native.conftest import LEVELS, Make
from tests.native.networks import Apply

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "product": (lambda: nn.Linear(3024, 7), (3024,)),
    "product of many outputs": (lambda: nn.Linear(2500, 64), (2500,)),
    "convolution": (lambda: nn.Conv2d(160, 5, 4, padding=1), (160, 7, 6)),
    "convolution of long runs": (lambda: nn.Conv1d(700, 20, 2, dilation=2), (700, 5)),
    "mean of channels": (
        lambda: nn.Sequential(nn.Conv2d(2, 24, 1), Apply(lambda x: x.mean((2, 3)))),
        (2, 40, 41),
    ),
}


def one_by_one(network: nn.Module, x: Tensor) -> Array:
    """A convolution whose products are added to one sum after the other, in float32."""
    assert isinstance(network, nn.Conv1d | nn.Conv2d)
    assert network.bias is not None
    flat = [1] * (2 - len(network.kernel_size))
    kernel, dilation = ((*flat, *map(int, size)) for size in (network.kernel_size, network.dilation))
    ahead = (*[0] * len(flat), *map(int, network.padding))
    patches = F.unfold(x.reshape(len(x), x.shape[1], *flat, *x.shape[2:]), kernel, dilation, ahead)
    terms = patches[:, None] * network.weight.flatten(1)[None, :, :, None]
    sums = np.cumsum(terms.numpy(), axis=2, dtype=np.float32)[:, :, -1]
    added: Array = sums + network.bias.numpy()[:, None]
    return added.reshape(network(x).shape)


def _pairs() -> list[object]:
    """Each network is fast with one of the tiles, and slow with the other."""
    return [
        pytest.param(name, tile, marks=() if number % 2 == (tile == 1) else pytest.mark.slow)
        for number, name in enumerate(NETWORKS)
        for tile in (1, 6)
    ]


@pytest.mark.parametrize(("name", "tile"), _pairs())
def test_a_long_sum_rounds_no_more_than_torchs(native: Make, name: str, tile: int) -> None:
    """The norm of all errors: that of a single number is luck."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    options = NativeOptions(levels=(LEVELS[0],), tile=tile)
    executor = native(network, torch.zeros(2, *shape), name="sums", options=options)
    x = torch.randn(12, *shape, generator=torch.Generator().manual_seed(1))
    exact = copy.deepcopy(network).double()(x.double()).numpy()
    own, torchs = (np.linalg.norm(np.asarray(y) - exact) for y in (executor(x.numpy()), network(x).numpy()))
    # Torch adds pairs of pairs where it takes a mean, four accumulators add one after the other. How it adds
    # up a convolution depends on the CPU; where that is in small parts, ours are held to one long sum.
    least = 0.6 * np.linalg.norm(one_by_one(network, x) - exact) if name.startswith("conv") else 0.0
    assert own <= max((3.0 if name.startswith("mean") else 1.5) * torchs, least)
