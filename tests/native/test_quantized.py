"""Int8 weights: errors within the bound that follows from the rounding, at every level and for every row."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native import levels
from grandopt.compiler.backends.native.form import Graph, Linear, QuantizedLinear, Value
from grandopt.compiler.backends.native.passes.codes import channel_scales, codes_of
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.conftest import REDUCED
from tests.native.test_property import GENERIC

ALL = (*REDUCED, GENERIC.name)
LEAST_TOP = 2.0**-118
"""The largest magnitude of a row counts as at least this."""
EPSILON = float(np.finfo(np.float32).eps)


@pytest.fixture(autouse=True)
def _generic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text that other architectures get, compiled for this one."""
    monkeypatch.setattr(levels, "LEVELS", (*levels.LEVELS, GENERIC))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all tests: what two of them ask of one network is built once."""
    return Store(tmp_path_factory.mktemp("quantized"))


@functools.cache
def captured(network: nn.Module, *shapes: tuple[int, ...]) -> Program:
    """The network as a program of inputs of these shapes, captured once for all levels."""
    return capture(from_module("quantized", network.eval(), tuple(torch.zeros(2, *s) for s in shapes)), 0)


def built(
    store: Store, network: nn.Module, *shapes: tuple[int, ...], level: str = REDUCED[0], tile: int = 8
) -> Executor:
    options = NativeOptions.model_validate({"levels": (level,), "weights": "int8", "tile": tile})
    return load(build(captured(network, *shapes), Candidate("int8_dynamic", options), store).path)


def rounding(x: Array) -> Array:
    """What each number of the rows x [..., K] may change by when it becomes a code, [..., 1].

    Where a ReLU gave them, there are twice as many codes.
    """
    top = np.maximum(np.abs(x).max(axis=-1, keepdims=True).astype(np.float64), LEAST_TOP)
    levels = 255 if (x >= 0).all() else 127
    return (
        top / (2 * levels) * (1 + 256 * EPSILON)
    )  # half a code, and the rounding of the quotient in float32


def product_bound(x: Array, weight: Array, bias: Array) -> Array:
    """Largest error of x · weightᵀ + bias: |x|·δw + δx·|w| + δx·δw over the inputs, then float32's."""
    magnitude, w = np.abs(x).astype(np.float64), np.abs(weight).astype(np.float64)
    of_weights = channel_scales(weight).astype(np.float64) / 2 * (1 + 256 * EPSILON)
    of_x = rounding(x)
    error = magnitude.sum(-1, keepdims=True) * of_weights + of_x * w.sum(1)
    error += weight.shape[1] * of_x * of_weights
    return error + 8 * EPSILON * (magnitude @ w.T + np.abs(bias) + error)


def spread(x: Array, weight: Array) -> Array:
    """Standard deviation of the error of x · weightᵀ: a rounding by up to δ has δ / √3."""
    squares = np.square(x.astype(np.float64)).sum(-1, keepdims=True) * (channel_scales(weight) / 2.0) ** 2
    squares = squares + rounding(x) ** 2 * np.square(weight.astype(np.float64)).sum(1)
    least = 8 * EPSILON * np.abs(x).astype(np.float64).sum(-1, keepdims=True) + 1e-6
    return np.sqrt(squares / 3) + least


def test_weight_codes_are_the_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((9, 50)).astype(np.float32)
    weight[3] = 0
    weight[4] *= 1e-12
    scales, codes = channel_scales(weight), codes_of(weight)
    error = np.abs(codes * scales[:, np.newaxis].astype(np.float64) - weight)
    assert (error <= scales[:, np.newaxis] * 0.5000001).all()
    assert np.abs(codes[[0, 1, 2, 4]]).max(axis=1).tolist() == [127] * 4
    assert not codes[3].any()


class Layer(nn.Module):
    """One product over rows [rows, inputs], or [inputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@functools.cache
def layered(before: type[nn.Module], inputs: int, outputs: int, seed: int = 0) -> nn.Sequential:
    """A product of what `before` gives, the same network for all who ask."""
    torch.manual_seed(seed)
    return nn.Sequential(before(), Layer(inputs, outputs))


def _products() -> Iterator[Any]:
    """Each size and what stands before it are fast in one of their pairs, the others slow."""
    sizes = ((0, (), 136, 256), (3, (17,), 130, 33), (1, (), 65, 70), (2, (48,), 64, 100), (4, (7,), 300, 16))
    for (number, size), before in product(enumerate(sizes), (nn.Identity, nn.ReLU)):
        fast = (number, before) in ((0, nn.Identity), (1, nn.ReLU))
        yield pytest.param(*size, before, marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize(("seed", "rows", "inputs", "outputs", "before"), list(_products()))
def test_products_stay_within_the_bound(
    store: Store,
    level: str,
    before: type[nn.Module],
    seed: int,
    rows: tuple[int, ...],
    inputs: int,
    outputs: int,
) -> None:
    tile = (1, 8, 16)[seed % 3]
    network = layered(before, inputs, outputs, seed)
    layer = network[1]
    executor = built(store, network, (*rows, inputs), level=level, tile=tile)
    weight, bias = (p.detach().numpy() for p in (layer.linear.weight, layer.linear.bias))
    random = np.random.default_rng(seed)
    for batch in (1, 3, 19):
        x = random.standard_normal((batch, *rows, inputs)).astype(np.float32)
        flat = x.reshape(-1, inputs)
        flat[::3] *= 10.0 ** random.integers(-38, 36, flat[::3].shape[:1])[:, np.newaxis]
        flat[1::5, ::2] = 0
        got = executor(x).astype(np.float64)
        x = np.maximum(x, 0) if before is nn.ReLU else x
        exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
        assert (np.abs(got - exact) <= product_bound(x, weight, bias)).all()
        # Roundings are independent and uniform: over many results their spread is known, too.
        relative = (got - exact) / spread(x, weight)
        assert np.sqrt(np.mean(relative**2)) <= (1.4 if relative.size >= 1000 else 3)


@pytest.mark.parametrize("level", ALL)
def test_rows_of_zeros_and_of_denormals_give_the_bias(store: Store, level: str) -> None:
    network = layered(nn.Identity, 100, 80)
    executor = built(store, network, (20, 100), level=level)
    x = np.zeros((2, 20, 100), np.float32)
    x[1] = 1e-40
    bias = network[1].linear.bias.detach()
    np.testing.assert_array_equal(executor(x), np.broadcast_to(bias, (2, 20, 80)))


class Mixed(nn.Module):
    """Products of one row and of many, both recurrences, and an epilogue that reads another value."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 37, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(74, 41, batch_first=True)
        self.mix, self.head = nn.Linear(74, 74), nn.Linear(41, 110)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = self.lstm(x)[0]
        steps = steps + torch.tanh(self.mix(steps))
        return torch.relu(self.head(self.gru(steps)[0][:, -1]))


@pytest.mark.slow
def test_all_levels_compute_the_same(store: Store) -> None:
    torch.manual_seed(3)
    network = Mixed().eval()
    x = np.random.default_rng(3).standard_normal((11, 18, 40)).astype(np.float32)
    results = [built(store, network, (18, 40), level=level, tile=1)(x) for level in ALL]
    with torch.no_grad():
        exact = network.double()(torch.from_numpy(x).double()).numpy()
    # A code at the middle between two may fall to either side: then levels differ by a part of the error.
    for other in results:
        assert 1e-4 < np.linalg.norm(other - exact) / np.linalg.norm(exact) < 0.02
        assert np.linalg.norm(other - results[0]) <= 0.2 * np.linalg.norm(other - exact)


class Stepwise(nn.Module):
    """One step of an LSTM or a GRU from a state that the caller gives."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], width: int, hidden: int) -> None:
        super().__init__()
        self.cell = kind(width, hidden, batch_first=True)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state = h.unsqueeze(0)
        if isinstance(self.cell, nn.GRU):
            return self.cell(x, state)[0][:, 0], c * 1.0
        _, (h, c) = self.cell(x, (state, c.unsqueeze(0)))
        return h[0], c[0]


RECURRENCES = [
    pytest.param(kind, level, marks=() if level == fast or kind is nn.LSTM else pytest.mark.slow)
    for kind, fast in ((nn.LSTM, ""), (nn.GRU, ALL[0]))
    for level in ALL
]
"""The gates of both go through the same products, whose levels one of them shows."""


@functools.cache
def stepwise(kind: type[nn.LSTM] | type[nn.GRU]) -> Stepwise:
    torch.manual_seed(4)
    return Stepwise(kind, 5, 48)


@pytest.mark.parametrize(("kind", "level"), RECURRENCES)
def test_a_step_from_any_state_stays_within_the_bound(
    store: Store, kind: type[nn.LSTM] | type[nn.GRU], level: str
) -> None:
    """A narrow input stays exact, so the error is that of the state's product through the gates."""
    network = stepwise(kind)
    executor = built(store, network, (1, 5), (48,), (48,), level=level)
    random = np.random.default_rng(4)
    x = random.standard_normal((9, 1, 5)).astype(np.float32)
    h = (
        random.standard_normal((9, 48)) * np.array([0, 1e-40, 1e-30, 0.1, 1, 3, 20, 300, 1e30])[:, None]
    ).astype(np.float32)
    c = random.standard_normal((9, 48)).astype(np.float32)
    got = [array.astype(np.float64) for array in executor.run([x, h, c])]
    cell = network.cell
    bound = product_bound(h, cell.weight_hh_l0.detach().numpy(), cell.bias_hh_l0.detach().numpy())
    with torch.no_grad():
        double = copy.deepcopy(network).double()
        exact = [t.numpy() for t in double(*(torch.from_numpy(a).double() for a in (x, h, c)))]
    # Slopes: at most 1/4 of a sigmoid, 1 of tanh; values: at most 1 of both.
    gates = np.split(np.minimum(bound, 1e3), 4 if kind is nn.LSTM else 3, axis=1)
    if kind is nn.LSTM:
        of_cell = np.abs(c) * gates[1] / 4 + gates[0] / 4 + gates[2]
        allowed = [gates[3] / 4 + of_cell, of_cell]
    else:
        hidden = np.abs(h.astype(np.float64) @ cell.weight_hh_l0.detach().numpy().T)[:, 96:] + 1
        of_new = np.minimum(2, hidden * np.minimum(1, gates[0] / 4) + gates[2])
        allowed = [of_new + np.minimum(1, gates[1] / 4) * (np.abs(h) + 1), np.zeros_like(c, np.float64)]
    for mine, real, most in zip(got, exact, allowed, strict=True):
        assert np.isfinite(mine).all()
        assert (np.abs(mine - real) <= most + 1e-5 * (1 + np.abs(real))).all()


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize(
    "value", [np.nan, *(pytest.param(value, marks=pytest.mark.slow) for value in (np.inf, -np.inf))]
)
def test_rows_that_are_not_finite_are_nan_and_the_others_are_not(
    store: Store, level: str, value: float
) -> None:
    network = layered(nn.Identity, 100, 80)
    for rows in ((), (20,)):
        executor = built(store, network, (*rows, 100), level=level)
        x = np.random.default_rng(5).standard_normal((9, *rows, 100)).astype(np.float32)
        clean = executor(x)
        x.reshape(-1, 100)[-1, 99] = value
        got = executor(x).reshape(-1, 80)
        assert np.isnan(got[-1]).all()
        np.testing.assert_array_equal(got[:-1], clean.reshape(-1, 80)[:-1])
        assert np.isnan(executor(x[-1:]).reshape(-1, 80)[-1]).all()


@pytest.mark.parametrize(("kind", "level"), RECURRENCES)
def test_a_state_that_is_not_finite_stays_so(
    store: Store, kind: type[nn.LSTM] | type[nn.GRU], level: str
) -> None:
    executor = built(store, stepwise(kind), (1, 5), (48,), (48,), level=level)
    x, h, c = (np.zeros((3, *shape), np.float32) for shape in ((1, 5), (48,), (48,)))
    h[1, 47] = np.nan
    h[2, 0] = np.inf
    state = executor.run([x, h, c])[0]
    assert np.isfinite(state[0]).all()
    assert np.isnan(state[1:]).all()


@pytest.mark.parametrize(
    ("between", "most"),
    # Weights of rows with zeros are there twice.
    [(nn.Tanh, 0.33), pytest.param(nn.ReLU, 0.52, marks=pytest.mark.slow)],
)
def test_the_artifact_is_a_quarter_as_large(tmp_path: Path, between: type[nn.Module], most: float) -> None:
    network = nn.Sequential(nn.Linear(54, 512), between(), nn.Linear(512, 512)).eval()
    built(Store(tmp_path), network, (54,))
    full = Candidate("float32", NativeOptions(levels=(REDUCED[-1],)))
    build(captured(network, (54,)), full, Store(tmp_path))
    small, full = sorted(path.stat().st_size for path in tmp_path.glob("*/agent*.so"))
    assert small < most * full


def test_agents_of_small_products_are_refused(store: Store) -> None:
    network = nn.Sequential(nn.Linear(8, 400), nn.ReLU(), nn.Linear(400, 4))
    with pytest.raises(UnsupportedError, match="quantized: no product of at least 16 inputs, 16 outputs"):
        built(store, network, (8,))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 1e-30], ids=str)
def test_weights_beyond_the_codes_stay_as_they_are(value: float) -> None:
    plain = np.ones((64, 64), np.float32)
    odd = plain.copy()
    odd[5] = value
    graph = _two_products(plain, odd)
    kinds = [type(op) for op in quantize(graph).ops if isinstance(op, (Linear, QuantizedLinear))]
    assert kinds == [QuantizedLinear, Linear]


def test_what_two_products_read_is_quantized_once() -> None:
    plain = np.ones((64, 64), np.float32)
    kinds = [type(op).__name__ for op in quantize(_two_products(plain, plain)).ops]
    assert kinds == ["Quantize", "QuantizedLinear", "QuantizedLinear"]


def _two_products(*weights: Array) -> Graph:
    x = Value("x", (1, 64), "float32")
    ops = []
    for number, weight in enumerate(weights):
        constants = [
            Value(f"{name}{number}", data.shape, "float32", data)
            for name, data in (("weight", weight), ("bias", np.zeros(64, np.float32)))
        ]
        ops.append(Linear((x, *constants), (Value(f"y{number}", (1, 64), "float32"),)))
    return Graph("two", (x,), tuple(op.output for op in ops), tuple(ops))


def test_the_levels_of_this_machine_are_tested() -> None:
    assert {GENERIC.name, "x86-64-v3"} <= set(ALL) or architecture() != "x86_64"
