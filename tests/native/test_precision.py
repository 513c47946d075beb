"""Weights stored as bfloat16, computed with in float32."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.render.weights import paired
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from tests.native.conftest import REDUCED


class Sequence(nn.Module):
    """An LSTM and a GRU of odd sizes, a wide layer, and a head of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(9, 23, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(46, 17, batch_first=True)
        self.wide, self.head = nn.Linear(17, 147), nn.Linear(147, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.wide(self.gru(self.lstm(x)[0])[0][:, -1])))


def _built(network: nn.Module, level: str, folder: Path, weights: str) -> Executor:
    options = NativeOptions.model_validate({"levels": (level,), "weights": weights})
    candidate = Candidate("bfloat16" if weights == "bfloat16" else "float32", options)
    program = capture(from_module("sequence", network, (torch.zeros(2, 6, 9),)), 0)
    return load(build(program, candidate, Store(folder)).path)


def test_rounding_is_that_of_torch() -> None:
    numbers = np.random.default_rng(0).standard_normal((3, 5, 16)).astype(np.float32) * 100
    numbers[0, 0, :4] = (np.inf, -np.inf, np.nan, 3.4e38)
    words = paired(numbers, 16).reshape(3, 3, 16)
    rounded = torch.from_numpy(numbers).bfloat16().float().numpy()
    np.testing.assert_array_equal((words << 16).view(np.float32), rounded[:, 0::2])
    np.testing.assert_array_equal((words & 0xFFFF0000).view(np.float32)[:, :2], rounded[:, 1::2])


@pytest.mark.slow
@pytest.mark.parametrize("level", REDUCED)
def test_weights_that_are_bfloat16_already_lose_nothing(tmp_path: Path, level: str) -> None:
    torch.manual_seed(1)
    network = Sequence().eval()
    rounded = copy.deepcopy(network)
    for name, parameter in rounded.named_parameters():
        if "weight" in name and not name.startswith("head"):
            parameter.data = parameter.data.bfloat16().float()
    executor = _built(rounded, level, tmp_path, "bfloat16")
    inputs = np.random.default_rng(2).standard_normal((9, 6, 9)).astype(np.float32)
    with torch.no_grad():
        exact = rounded.double()(torch.from_numpy(inputs).double()).numpy()
    np.testing.assert_allclose(executor(inputs), exact, atol=2e-6)


def test_the_artifact_is_half_as_large_and_says_its_precision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(54, 512), nn.Tanh(), nn.Linear(512, 512)).eval()
    small = _built(network, REDUCED[0], tmp_path, "bfloat16")
    full = _built(network, REDUCED[0], tmp_path, "float32")
    inputs = np.random.default_rng(2).standard_normal((3, 6, 9)).astype(np.float32)
    difference = np.linalg.norm(small(inputs) - full(inputs)) / np.linalg.norm(full(inputs))
    assert 1e-5 < difference < 0.01
    sizes = sorted(path.stat().st_size for path in tmp_path.glob("*/agent*.so"))
    assert sizes[0] < 0.6 * sizes[1]
