"""Weights of each layer's own precision: layers are weighed right, and errors spent where they save time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.backend import stages
from grandopt.compiler.backends.native.form import Op, Quantize, QuantizedLinear, Unary
from grandopt.compiler.backends.native.passes.mix import Offer, spent
from grandopt.compiler.backends.native.simulate import Simulation
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engine import Precision
from grandopt.config.engines import ALIKE, NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.conftest import REDUCED

MIXED = NativeOptions(weights="mixed", error=0.02, agreement=0.9)
ROWS = 4 * ALIKE
PRECISIONS: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8_dynamic"}


def captured(network: nn.Module, *shapes: tuple[int, ...]) -> Program:
    return capture(from_module("mixed", network.eval(), tuple(torch.randn(1, *s) for s in shapes)), 0)


class Sensitive(nn.Module):
    """Of three large layers one cannot be of int8: one input is so large that the others get no codes."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(48, 256)
        self.wide = nn.Linear(256, 256)
        self.sensitive = nn.Linear(256, 64)
        self.leave = nn.Linear(64, 1)
        with torch.no_grad():
            self.wide.weight[0] *= 3000
            self.wide.bias[0] += 3000
            self.sensitive.weight[:, 0] /= 3000

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.wide(torch.relu(self.enter(x))))
        result: torch.Tensor = self.leave(torch.relu(self.sensitive(x)))
        return result


class Steps(nn.Module):
    """Recurrences of both kinds and both directions, a softmax and products of computed values."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 48, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(96, 48, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.gru(self.lstm(x)[0])[0]
        weights = torch.softmax(y @ y.transpose(1, 2), -1)
        return nn.functional.gelu(weights @ y).mean(1)


class Image(nn.Module):
    """Convolutions of each kind: with borders, steps and groups."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(8, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32),
            nn.Conv2d(32, 48, 3, dilation=2),
            nn.Flatten(),
            nn.Linear(48 * 16, 6),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layers": (Sensitive, (48,)),
    "steps": (Steps, (5, 16)),
    "image": (Image, (8, 16, 16)),
}


def observed(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal((ROWS, *shape)).astype(np.float32)


@functools.cache
def example(name: str) -> Program:
    """One of the networks, captured once for all kinds of weights."""
    torch.manual_seed(0)
    kind, shape = NETWORKS[name]
    return captured(kind(), shape)


def _pairs() -> list[Any]:
    """Each network is fast with one kind of weights, and slow with the others."""
    return [
        pytest.param(name, weights, marks=() if at == number else pytest.mark.slow)
        for number, name in enumerate(NETWORKS)
        for at, weights in enumerate(("bfloat16", "float32", "int8"))
    ]


@pytest.mark.parametrize(("name", "weights"), _pairs())
def test_what_is_simulated_is_what_kernels_compute(tmp_path: Path, name: str, weights: Any) -> None:
    program, x = example(name), observed(NETWORKS[name][1])
    options = NativeOptions(weights=weights, levels=(REDUCED[0],), tile=1)
    made = stages(program, options)
    graph = made.executed
    simulated = Simulation(made.simplified, [x.reshape(ROWS, *graph.inputs[0].shape)])
    halved = frozenset(graph.ops) if weights == "bfloat16" else frozenset()
    (found,) = simulated.variant(graph, graph.outputs, halved)
    executor = load(build(program, Candidate(PRECISIONS[weights], options), Store(tmp_path)).path)
    (expected,) = executor.run((x,))
    scale = np.abs(expected).max()
    # A kernel without dot products of bfloat16 does not round inputs; a code may fall to the other side.
    assert np.abs(found.reshape(expected.shape) - expected).max() < scale * (
        2e-6 if weights == "float32" else 2e-2
    )


def test_errors_are_spent_where_they_save_most_time() -> None:
    slow, quick, wrong = (Unary((), ()) for _ in range(3))
    offers: dict[Op, Any] = {
        op: {"float32": Offer(ns, 0.0), "bfloat16": Offer(ns / 2, error / 8), "int8": Offer(ns / 4, error)}
        for op, ns, error in ((slow, 1000.0, 0.01), (quick, 10.0, 0.01), (wrong, 1000.0, 1.0))
    }
    assert spent(offers, 0.0) == dict.fromkeys(offers, "float32")
    assert spent(offers, 0.011) == {slow: "int8", quick: "bfloat16", wrong: "float32"}
    assert spent(offers, 0.2) == {slow: "int8", quick: "int8", wrong: "bfloat16"}
    assert spent(offers, 2.0) == dict.fromkeys(offers, "int8")


def test_the_sensitive_layer_alone_keeps_more_bits() -> None:
    torch.manual_seed(0)
    made = stages(captured(Sensitive(), (48,)), MIXED, [observed((48,))])
    assert made.layers == {
        "int8": ["enter 256×48", "wide 256×256"],
        "bfloat16": ["sensitive 64×256"],
        "float32": [],
    }
    assert made.stored == {"int8", "bfloat16"}
    codes = [op for op in made.executed.ops if isinstance(op, QuantizedLinear)]
    assert [op.weight.shape for op in codes] == [(256, 48), (256, 256)]


def test_layers_that_read_raw_observations_stay_as_they_are_without_evidence() -> None:
    torch.manual_seed(0)
    options = MIXED.model_copy(update={"inputs_float32": True})
    made = stages(captured(Sensitive(), (48,)), options, [observed((48,))])
    assert made.layers["int8"] == ["wide 256×256"]
    assert not any(op.scaling for op in made.executed.ops if isinstance(op, Quantize))


def test_a_smaller_budget_leaves_more_bits() -> None:
    torch.manual_seed(0)
    program, x = captured(Sensitive(), (48,)), [observed((48,))]
    whole, careful = (
        stages(program, MIXED.model_copy(update={"error": 0.007, "careful": careful}), x).layers
        for careful in (False, True)
    )
    assert len(careful["int8"]) < len(whole["int8"])


def test_a_convolution_that_stays_in_float32_stays_a_convolution() -> None:
    torch.manual_seed(0)
    program = captured(Image(), (8, 16, 16))
    options = MIXED.model_copy(update={"inputs_float32": True})
    made = stages(program, options, [observed((8, 16, 16))])
    kept = stages(program, NativeOptions(), None)
    assert [type(op) for op in made.executed.ops][:1] == [type(op) for op in kept.executed.ops][:1]


def test_nothing_is_mixed_where_it_would_save_nothing() -> None:
    small = captured(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), (8,))
    with pytest.raises(UnsupportedError, match="no product is large enough"):
        stages(small, MIXED, [observed((8,))])
    torch.manual_seed(0)
    strict = MIXED.model_copy(update={"error": 1e-7})
    with pytest.raises(UnsupportedError, match="too little to be worth a build"):
        stages(captured(Sensitive(), (48,)), strict, [observed((48,))])


def test_without_observations_or_a_limit_nothing_is_weighed() -> None:
    program = captured(Sensitive(), (48,))
    with pytest.raises(UnsupportedError, match="no observation"):
        stages(program, MIXED)
    with pytest.raises(UnsupportedError, match="no limit"):
        stages(program, NativeOptions(weights="mixed"), [observed((48,))])
