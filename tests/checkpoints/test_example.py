"""Example inputs as people give them: NumPy's float64, one observation without a batch, lists, bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.errors import GrandoptError, SignatureError


def linear(dtype: torch.dtype = torch.float32) -> nn.Module:
    return nn.Sequential(nn.Linear(7, 7), nn.Tanh()).to(dtype)


class Casting(nn.Module):
    """Takes any float, and computes the part that needs it in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((7,), 1e6, dtype=torch.float64))
        self.net = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net((x - self.mean).float())


class Window(nn.Module):
    """Takes windows [B, 5, 7] only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(35, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dim() == 3
        return self.net(x.flatten(1))


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.net = nn.Linear(10, 2)

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([x, self.table(index)], dim=-1))


class BatchOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.view(1, 7))


READ = [
    (linear(), np.zeros((2, 7)), (7,), "float32"),
    (linear(), np.zeros((2, 7), np.float32), (7,), "float32"),
    (linear(), np.zeros((1, 7)), (7,), "float32"),
    (linear(), [[0.0] * 7], (7,), "float32"),
    (linear(torch.float64), np.zeros((2, 7)), (7,), "float64"),
    (linear(torch.float64), np.zeros((2, 7), np.float32), (7,), "float64"),
    (linear(torch.float16), np.zeros((2, 7)), (7,), "float16"),
    (linear(torch.bfloat16), np.zeros((2, 7)), (7,), "float32"),
    (linear(torch.bfloat16), torch.zeros(2, 7, dtype=torch.bfloat16), (7,), "float32"),
    (Casting(), np.zeros((2, 7)), (7,), "float64"),
    (Casting(), np.zeros((2, 7), np.float32), (7,), "float32"),
    (linear(), np.zeros(7), (7,), "float32"),
    (linear(), torch.zeros(7), (7,), "float32"),
    (Window(), np.zeros((5, 7)), (5, 7), "float32"),
    (Window(), torch.zeros(5, 7), (5, 7), "float32"),
    (Window(), torch.zeros(1, 5, 7), (5, 7), "float32"),
    (nn.ReLU(), torch.zeros(2, 7), (7,), "float32"),
]


@pytest.mark.parametrize(("network", "example", "shape", "dtype"), READ)
def test_examples_are_read_as_the_network_takes_them(
    network: nn.Module, example: Any, shape: tuple[int, ...], dtype: str
) -> None:
    if isinstance(example, list):
        example = {"x": example}
    checkpoint = from_module("a", network, example)
    (spec,) = checkpoint.inputs
    assert (spec.shape, spec.dtype) == (shape, dtype)
    capture(checkpoint)


def test_several_inputs_are_read_alike() -> None:
    for example in (
        (np.zeros((2, 7)), np.zeros(2, np.int64)),
        (np.zeros(7), 0),
        (torch.zeros(7), torch.tensor(0)),
    ):
        specs = from_module("a", Joined(), example).inputs
        assert (specs[0].shape, specs[0].dtype) == ((7,), "float32")


def test_what_no_reading_fits_is_said_of_the_likeliest() -> None:
    with pytest.raises(SignatureError, match=r"\(input \[6\] float32\): mat1 and mat2 shapes"):
        capture(from_module("a", linear(), np.zeros((2, 6))))
    with pytest.raises(SignatureError, match=r"\(input \[7\] float64\)"):
        capture(from_module("a", linear(), torch.zeros(2, 7, dtype=torch.float64)))


def test_a_batch_of_one_that_is_built_in_is_no_missing_batch() -> None:
    with pytest.raises(SignatureError, match="its batch size is built in"):
        capture(from_module("a", BatchOfOne(), torch.zeros(1, 7)))


def test_an_example_of_one_observation_is_noted() -> None:
    assert from_module("a", linear(), torch.zeros(7)).source.details["example"].startswith("one observation")
    assert "example" not in from_module("a", linear(), torch.zeros(2, 7)).source.details


@pytest.mark.parametrize(
    "example",
    [
        torch.zeros(2, 7, dtype=torch.complex64),
        np.zeros((2, 7), "U3"),
        {"x": object()},
        np.zeros((2, 0)),
        "x",
    ],
)
def test_examples_that_no_agent_can_take_are_refused(example: Any) -> None:
    with pytest.raises(GrandoptError):
        capture(from_module("a", linear(), example))


def test_a_trial_leaves_no_trace_in_the_network() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * self.calls

    found = from_module("a", Counting(), np.zeros((2, 7)))
    assert [(tensor.input, tensor.initial) for tensor in found.contract.state] == [("calls", 0.0)]
    assert [float(value) for value in found.module.buffers()] == [0.0]
