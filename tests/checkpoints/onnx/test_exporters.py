"""Networks as PyTorch's exporter writes them, with a batch of 1 built in or a dynamic one."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig


class Tokens(nn.Module):
    """A learned token in front of a transformer layer, which joins shapes with the batch in them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.project = nn.Linear(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.first.expand(x.shape[0], -1, -1), self.project(x)], 1)
        result: torch.Tensor = self.layer(joined)
        return result[:, 0]


class Sequence(nn.Module):
    """Two bidirectional recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.layers(x)
        return self.head(steps[:, -1])


class Pixels(nn.Module):
    """A convolution, its batch norm, and a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(5, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.head(self.layers(x.unsqueeze(-1).expand(-1, -1, -1, 4)).flatten(1))
        return scores.argmax(-1), scores


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "dynamic"), [(Tokens, False), (Sequence, True), (Pixels, False)])
def test_what_the_exporter_writes_is_read_for_any_batch(
    kind: type[nn.Module], dynamic: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    path = tmp_path / "agent.onnx"
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    caplog.set_level(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.randn(2 if dynamic else 1, 5, 6)
        torch.onnx.export(network, (example,), str(path), dynamo=True, dynamic_shapes=shapes, verbose=False)
    found = detect.load("agent", AgentConfig(checkpoint=path))
    assert found.inputs[0].shape == (5, 6)
    given = torch.randn(3, 5, 6)
    with torch.no_grad():
        answers, expected = found.module(given), network(given)
    if isinstance(expected, torch.Tensor):
        answers, expected = (answers,), (expected,)
    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer.numpy(), wanted.numpy(), atol=1e-6)
