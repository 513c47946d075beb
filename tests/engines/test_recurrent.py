"""Recurrent layers in ONNX Runtime: NaN exactly where torch has it, and nothing else changed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.onnx_graph import onnx_graph
from grandopt.compiler.backends.onnx_recurrent import keep_nan
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import OnnxRuntimeOptions
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.small_agents import draw, expected

SHAPE = (6, 3)
STRANGE = (np.nan, np.inf, -np.inf, 1e36)


class Layers(nn.Module):
    """Two recurrent layers over [6, 3]: every step, or the last state of each direction."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], bidirectional: bool, last: bool) -> None:
        super().__init__()
        self.layers = kind(3, 5, num_layers=2, batch_first=True, bidirectional=bidirectional)
        self.last = last

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        steps, state = self.layers(window)
        hidden = state[0] if isinstance(state, tuple) else state
        return hidden.transpose(0, 1).flatten(1) * 1 if self.last else steps * 1


class Cell(nn.Module):
    """An LSTM's last cell state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.lstm(window)[1][1][-1] * 1


class Carried(nn.Module):
    """An LSTM whose first state comes with the observation."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)

    def forward(self, window: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        carried = state.unsqueeze(0).contiguous()
        return self.lstm(window, (carried, carried))[0] * 1


def _captured(module: nn.Module, *shapes: tuple[int, ...]) -> Program:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return capture(from_module("recurrent", module, tuple(torch.zeros(2, *shape) for shape in shapes)))


def _strange(rng: np.random.Generator) -> Array:
    """Sequences with up to two strange elements each."""
    window = rng.normal(size=(400, *SHAPE)).astype(np.float32)
    for row in range(len(window)):
        for _ in range(rng.integers(3)):
            window[row, rng.integers(SHAPE[0]), rng.integers(SHAPE[1])] = rng.choice(STRANGE)
    return window


@pytest.mark.slow
@pytest.mark.parametrize("last", [False, True], ids=["steps", "last"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["onward", "both-ways"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_nan_is_where_torch_has_it(
    store: Store, kind: type[nn.LSTM] | type[nn.GRU], bidirectional: bool, last: bool
) -> None:
    of = _captured(Layers(kind, bidirectional, last), SHAPE)
    executor = load(build(of, Candidate("float32", OnnxRuntimeOptions()), store).path)
    window = _strange(np.random.default_rng(0))
    (got,), (want,) = executor.run([window]), expected(of, [window])
    broken = np.isnan(want).reshape(len(want), -1).any(axis=1)
    assert 50 < broken.sum() < 350, "there is NaN to be kept, and there are rows without"
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)  # NaN equals NaN alone
    for row in (int(broken.argmax()), int(broken.argmin())):
        np.testing.assert_allclose(executor.run([window[row : row + 1]])[0], got[row : row + 1], rtol=1e-5)


def test_other_numbers_stay_as_they_are() -> None:
    of = _captured(Layers(nn.LSTM, True, False), SHAPE)
    before = onnx_graph(of, "onnx")
    plain, kept = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for graph in (before, keep_nan(before))
    )
    (window,) = draw(of, 5)
    feed = {plain.get_inputs()[0].name: window}
    np.testing.assert_array_equal(plain.run(None, feed)[0], kept.run(None, feed)[0])


@pytest.mark.parametrize(
    ("module", "shapes"),
    [(Cell(), (SHAPE,)), (Carried(), (SHAPE, (5,))), (nn.Linear(3, 2), (SHAPE,))],
    ids=["cell-state", "carried-state", "not-recurrent"],
)
def test_what_the_rule_does_not_cover_is_left_alone(
    module: nn.Module, shapes: tuple[tuple[int, ...], ...]
) -> None:
    graph = onnx_graph(_captured(module, *shapes), "onnx")
    assert keep_nan(graph) == graph


def test_the_graph_is_valid() -> None:
    graph = keep_nan(onnx_graph(_captured(Layers(nn.GRU, True, True), SHAPE), "onnx"))
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
