"""Scales per feature: what they are chosen on, and that they change nothing but the rounding."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native import levels
from grandopt.compiler.backends.native.form import Graph, Linear, Quantize, QuantizedLinear, Value
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.passes.scale import chosen
from grandopt.compiler.build import Candidate, build, key
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.conftest import SHARED
from tests.native.conftest import REDUCED
from tests.native.test_property import GENERIC

ALL = (*REDUCED, GENERIC.name)
AGREEMENT = 0.995


@pytest.fixture(autouse=True)
def _generic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text that other architectures get, compiled for this one."""
    monkeypatch.setattr(levels, "LEVELS", (*levels.LEVELS, GENERIC))


def int8(level: str = REDUCED[0], tile: int = 8) -> Candidate:
    options = NativeOptions.model_validate({"levels": (level,), "weights": "int8", "tile": tile})
    return Candidate("int8_dynamic", options)


def captured(network: nn.Module, *example: torch.Tensor) -> Program:
    return capture(from_module("scaled", network.eval(), example), 0)


def made(
    folder: Path, network: nn.Module, samples: tuple[Array, ...] | None, *example: torch.Tensor, **how: Any
) -> Artifact:
    return build(captured(network, *example), int8(**how), Store(folder), calibration=samples)


def sized(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Observations of features of very different sizes, some far from zero, one constant, one always zero."""
    width = shape[-1]
    size = 10.0 ** random.uniform(-3, 4, width)
    middle = np.where(random.random(width) < 0.3, 30 * size, 0)
    drawn = random.standard_normal(shape) * size + middle
    drawn[..., 1], drawn[..., 2] = 1e4, 0
    return drawn.astype(np.float32)


def balanced(network: nn.Linear, x: Array) -> None:
    """Weights as training leaves them: smaller where the feature is larger."""
    size = torch.from_numpy(np.abs(x).reshape(-1, x.shape[-1]).max(axis=0))
    with torch.no_grad():
        network.weight /= size.clamp(min=1e-3)


@pytest.fixture(scope="module")
def cases() -> dict[str, Callable[[], tuple[nn.Module, torch.Tensor, torch.Tensor]]]:
    path = SHARED / "cases" / "int8_ranges.py"
    if not path.exists():
        pytest.skip("skipped: ../shared/cases not found")
    spec = importlib.util.spec_from_file_location("int8_ranges", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.CASES
    return found


@pytest.mark.parametrize("case", ["one_large_feature", "outlier"])
def test_recorded_observations_keep_the_small_features_their_codes(
    case: str, cases: dict[str, Any], tmp_path: Path
) -> None:
    network, example, x = cases[case]()
    # Of a thousand observations so few act differently that chance decides: 200,000 are asked, each feature
    # of them (they are independent) one that was recorded.
    random = np.random.default_rng(0)
    asked = np.stack([random.choice(column, 200_000) for column in x.numpy().T], axis=1)
    with torch.no_grad():
        wanted = network(torch.from_numpy(asked)).argmax(1).numpy()
    of = captured(network, example)
    agreement = {}
    for name, samples in (("without", None), ("with", (x.numpy(),))):
        artifact = build(of, int8(), Store(tmp_path), calibration=samples)
        assert len(artifact.manifest.options["scaled"]) == (samples is not None)
        agreement[name] = float(np.mean(load(artifact.path).run((asked,))[0].argmax(1) == wanted))
    assert agreement["with"] >= AGREEMENT
    assert agreement["without"] < 0.9


def _products() -> list[Any]:
    """At each level one of the sizes is fast, the others slow."""
    sizes = [(0, (), 136, 64), (1, (), 65, 70), (2, (18,), 47, 100)]
    return [
        pytest.param(*size, level, marks=() if (place + at) % 3 == 0 else pytest.mark.slow)
        for place, level in enumerate(ALL)
        for at, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(("seed", "rows", "inputs", "outputs", "level"), _products())
def test_scaled_products_stay_within_the_bound(
    tmp_path: Path, level: str, seed: int, rows: tuple[int, ...], inputs: int, outputs: int
) -> None:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    layer = nn.Linear(inputs, outputs)
    x = sized(random, (300, *rows, inputs))
    balanced(layer, x)
    artifact = made(tmp_path, layer, (x,), torch.zeros(2, *rows, inputs), level=level, tile=(1, 8, 16)[seed])
    assert artifact.manifest.options["scaled"]
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    scaling = chosen(x[:256].reshape(-1, inputs)[:: 18 if rows else 1], weight)
    assert scaling is not None
    executor = load(artifact.path)
    for batch in (1, 7, 17):
        given = x[:batch].copy()
        got = executor.run((given,))[0].astype(np.float64)
        exact = given.astype(np.float64) @ weight.T.astype(np.float64) + bias
        assert np.abs(got - exact).max() < 0.05 * np.abs(exact - bias).max()  # and not as large as a feature
        given[0].reshape(-1, inputs)[0, 5] = np.nan
        given[-1].reshape(-1, inputs)[-1, 3] = np.inf
        strange = executor.run((given,))[0]
        bad = ~np.isfinite(given).all(axis=-1)
        assert np.isnan(strange[bad]).all()
        np.testing.assert_array_equal(strange[~bad], got.astype(np.float32)[~bad])


def linear(weight: Array, bias: Array) -> tuple[Graph, Value]:
    x = Value("x", (1, weight.shape[1]), "float32")
    y = Value("y", (1, weight.shape[0]), "float32")
    constants = (Value("w", weight.shape, "float32", weight), Value("b", bias.shape, "float32", bias))
    return Graph("one", (x,), (y,), (Linear((x, *constants), (y,)),)), x


@pytest.mark.parametrize("seed", range(20))
def test_scales_are_folded_exactly(seed: int) -> None:
    """Powers of two leave no rounding in the weights; the moved bias is rounded once."""
    random = np.random.default_rng(seed)
    samples = sized(random, (200, 64))
    weight = (random.standard_normal((64, 64)) / np.abs(samples).max(axis=0).clip(1e-3)).astype(np.float32)
    bias = random.standard_normal(64).astype(np.float32)
    graph, _ = linear(weight, bias)
    first, second = quantize(graph, samples=(samples,)).ops
    assert isinstance(first, Quantize)
    assert isinstance(second, QuantizedLinear)
    offset, factor = (value.constant for value in first.scaling)
    assert (np.log2(factor) == np.rint(np.log2(factor))).all()
    assert factor.max() == 1
    scaling = chosen(samples, weight)
    assert scaling is not None
    np.testing.assert_array_equal(scaling.weight(weight).astype(np.float32) * factor, weight)
    moved = bias + weight.astype(np.float64) @ offset
    np.testing.assert_array_equal(second.bias.data, moved.astype(np.float32))


def test_features_of_one_size_get_no_scales_and_the_same_build(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    random = np.random.default_rng(0)
    alike = random.standard_normal((300, 64)).astype(np.float32)
    plain = made(tmp_path, layer, None, torch.zeros(2, 64))
    recorded = made(tmp_path, layer, (alike,), torch.zeros(2, 64))
    assert recorded.manifest.options["scaled"] == []
    files = {entry.name: entry.sha256 for entry in plain.manifest.payload}
    assert files == {entry.name: entry.sha256 for entry in recorded.manifest.payload}


def test_samples_are_part_of_the_key_where_they_are_looked_at() -> None:
    of = captured(nn.Linear(64, 64), torch.zeros(2, 64))
    samples = (np.ones((4, 64), np.float32),)
    assert int8().scaled
    assert key(of, int8(), calibration=samples) != key(of, int8())
    kept = int8().with_inputs_float32()
    assert not kept.scaled
    assert key(of, kept, calibration=samples) == key(of, kept)


def test_samples_that_say_nothing_change_nothing() -> None:
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((64, 64)).astype(np.float32), np.zeros(64, np.float32)
    graph, _ = linear(weight, bias)
    for samples in (np.full((5, 64), np.nan), np.zeros((5, 64)), np.zeros((0, 64))):
        first, _ = quantize(graph, samples=(samples.astype(np.float32),)).ops
        assert isinstance(first, Quantize)
        assert not first.scaling


class Joined(nn.Module):
    """Two inputs of different sizes, one clipped, joined before two products."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.beside = nn.Linear(64, 64), nn.Linear(64, 80)
        self.head = nn.Linear(144, 32)

    def forward(self, prices: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([prices.flatten(1), returns.clamp(-0.1, 0.1)], -1)
        return self.head(torch.cat([torch.tanh(self.first(joined)), torch.tanh(self.beside(joined))], -1))


def test_scales_are_found_through_what_stands_before_the_first_product(tmp_path: Path) -> None:
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    prices = (4000 + 100 * random.standard_normal((400, 4, 8))).astype(np.float32)
    returns = (0.02 * random.standard_normal((400, 32))).astype(np.float32)
    network = Joined()
    with torch.no_grad():
        for layer in (network.first, network.beside):
            layer.weight[:, :32] /= 1000
            layer.weight[:, 32:] *= 20
        want = network(torch.from_numpy(prices), torch.from_numpy(returns)).numpy()
    errors = []
    for samples in (None, (prices, returns)):
        artifact = made(tmp_path, network, samples, torch.zeros(2, 4, 8), torch.zeros(2, 32))
        assert len(artifact.manifest.options["scaled"]) == (samples is not None)
        got = load(artifact.path).run((prices, returns))[0]
        errors.append(np.linalg.norm(got - want) / np.linalg.norm(want - want.mean(axis=0)))
    assert errors[1] < 0.05 < errors[0]
