"""Convolutions with a plain head are rebuilt; their strides, which no weight has, are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

IMAGE = [{"name": "image", "shape": [2, 12, 10]}]
STRIDES = {"stride": [2, 1], "padding": [1, 0]}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, 2),
    ).eval()


def opened(tensors: dict[str, Any], folder: Path, **settings: Any) -> Checkpoint:
    path = folder / "actor.pth"
    torch.save(tensors, path)
    return detect.load("a", AgentConfig(checkpoint=path, network="cnn:relu", **settings))


def test_it_is_the_network(tmp_path: Path) -> None:
    checkpoint = opened(network().state_dict(), tmp_path, inputs=IMAGE, network_args=STRIDES)
    x = torch.randn(3, 2, 12, 10)
    torch.testing.assert_close(checkpoint.module(x), network()(x))
    assert checkpoint.source.details["network"].startswith(
        "Sequential(Conv2d(2, 4, 4, stride=2, padding=1), relu, Conv2d(4, 3, 3, stride=1, padding=0), relu, "
    )


def test_signals_of_one_dimension(tmp_path: Path) -> None:
    torch.manual_seed(0)
    signal = nn.Sequential(nn.Conv1d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    checkpoint = opened(
        signal.state_dict(), tmp_path, inputs=[{"name": "x", "shape": [2, 8]}], network_args={"stride": 1}
    )
    x = torch.randn(3, 2, 8)
    torch.testing.assert_close(checkpoint.module(x), signal(x))


def test_it_is_proposed_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    torch.save(network().state_dict(), path)
    (found,) = detect.describe(path)["state_dicts"]
    assert found["spells"].startswith(
        "Sequential(Conv2d(2, 4, 4, stride=STRIDE, padding=PADDING), ACTIVATION,"
    )
    assert found["network_args"] == {"stride": ["S", "S"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"do not say the strides of its 2 convolution.*stride: \[S, S\].*shape: \[2, H, W\]"),
        ({"inputs": IMAGE, "network_args": {"stride": [1, 1]}}, r"give 105 numbers, but layer '5' takes 36"),
        ({"inputs": IMAGE, "network_args": {"stride": [2]}}, r"stride must be 2 whole number.*got \[2\]"),
        ({"inputs": IMAGE, "network_args": {"stride": [0, 1]}}, r"stride must be 2 whole number"),
        ({"inputs": IMAGE, "network_args": {"stride": 2.0}}, r"stride must be 2 whole number.*got 2.0"),
        ({"inputs": IMAGE, "network_args": {"stride": [9, 1]}}, r"too small for the kernel"),
        ({"inputs": IMAGE, "network_args": {"width": 3}}, r"'network_args' has 'width'; convolutions take"),
        (
            {"inputs": [{"name": "x", "shape": [3, 12, 10]}], "network_args": STRIDES},
            r"takes 2 channel\(s\) of 2 dimension\(s\), but an observation is declared as \[3, 12, 10\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(network().state_dict(), tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_layers_in_another_order_are_refused(tmp_path: Path) -> None:
    tensors = {"0.weight": torch.zeros(4, 2, 3, 3), "2.weight": torch.zeros(4, 3, 3, 3)}
    with pytest.raises(CheckpointError, match="do not fit one behind the other"):
        opened({**tensors, "4.weight": torch.zeros(2, 8)}, tmp_path)
    with pytest.raises(CheckpointError, match="do not fit one behind the other"):
        opened({"0.weight": torch.zeros(2, 8), "1.weight": torch.zeros(4, 2, 3, 3)}, tmp_path)
