"""How much of a network some inputs set in motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.exercise import Exercised, Ranges
from grandopt.compiler.program import Program


class Half(nn.Module):
    """Of 6 units behind a ReLU, 4 are cut off where the inputs are below 5; the tanh behind it has 3."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 6), nn.Linear(6, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.full((6, 2), 1.0))
            self.first.bias.copy_(torch.tensor([4.0, 3.0, -9.0, -9.0, -9.0, -9.0]))
            self.second.weight.copy_(torch.eye(3, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(0.1 * self.second(torch.relu(self.first(x))))


def captured(module: nn.Module, *shape: int) -> Program:
    with torch.random.fork_rng():
        return capture(from_module("agent", module.eval(), torch.zeros(2, *shape)), 0)


def shown(program: Program, *inputs: np.ndarray) -> Exercised:
    network = Exercised(program)
    network.show((array.astype(np.float32),) for array in inputs)
    return network


@pytest.mark.parametrize("graph", [True, False])
def test_units_that_are_cut_off_are_counted(*, graph: bool) -> None:
    program = captured(Half(), 2)
    if not graph:
        program = program.but(exported=None)
    small = np.random.default_rng(0).uniform(-1, 1, (64, 2))
    network = shown(program, small)
    if graph:
        assert network.units == (9, 2 + 2)
    assert network.outputs == (3, 2)
    network.show([((small + 6).astype(np.float32),)])
    assert network.outputs == (3, 3)
    if graph:
        assert network.units == (9, 9)


def test_modules_without_a_graph_are_watched_and_left_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    program = captured(module, 2).but(exported=None)
    network = shown(program, np.random.default_rng(0).normal(size=(256, 2)) * 10)
    assert network.units[0] == 4
    assert network.units[1] > 0
    assert not any(part._forward_hooks for part in program.module.modules())


def test_what_the_network_cannot_take_is_left_out() -> None:
    network = Exercised(captured(Half(), 2))
    network.show([(np.zeros((3, 5), np.float32),)])
    assert network.units == (0, 0)


def test_units_of_images_are_channels_and_those_of_sequences_the_last_dimension() -> None:
    ranges = Ranges()
    image = torch.zeros(2, 3, 4, 4)
    image[0, 1, 2, 2] = 1.0
    ranges.see("image", image)
    ranges.see("sequence", torch.arange(24.0).reshape(2, 3, 4))
    assert ranges.changed == (3 + 4, 1 + 4)
    ranges.see("flags", torch.tensor([True, False]))
    assert ranges.changed == (8, 6)
