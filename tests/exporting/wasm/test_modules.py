"""Exported modules in Node: the agent's answers, with and without vectors, and beside native code's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native.backend import stages
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.wasm.module import compile_modules
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import MeasurementError
from grandopt.workflows.exporting.wasm import MODULES
from tests.exporting.wasm.conftest import Opened
from tests.native import programs
from tests.native.networks import Attention
from tests.small_agents import Pair, Policy, Recurrent, draw, expected, program


def captured(name: str, module: nn.Module, *example: Tensor) -> Program:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.2)
    return capture(from_module(name, module.eval(), example), 0)


def perceptron(activation: type[nn.Module], hidden: int = 64) -> Program:
    layers = (
        nn.Linear(17, hidden),
        activation(),
        nn.Linear(hidden, hidden),
        activation(),
        nn.Linear(hidden, 6),
    )
    return captured("policy", nn.Sequential(*layers), torch.zeros(2, 17))


@pytest.mark.parametrize(
    "kind", [Policy, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Pair, Recurrent))]
)
def test_answers_are_the_agents_and_the_same_without_vectors(kind: type[nn.Module], opened: Opened) -> None:
    of = program(kind)
    inputs = draw(of, 5)
    answers = [opened(of, module).run(inputs) for module in MODULES]
    for result, scalar, wanted in zip(*answers, expected(of, inputs), strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(result, scalar)


@pytest.mark.skipif(architecture() != "x86_64", reason="elsewhere vectors of 128 bits round products once")
@pytest.mark.parametrize(
    "network", ["tanh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("norm", "attention"))]
)
def test_sums_are_those_of_native_vectors_of_128_bits_to_the_bit(
    network: str, opened: Opened, tmp_path: Path
) -> None:
    """x86-64 without its extensions has such vectors, and rounds each product as WebAssembly does."""
    if network == "tanh":
        of = perceptron(nn.Tanh)
    elif network == "norm":
        of = captured("norm", nn.Sequential(nn.Linear(9, 33), nn.LayerNorm(33), nn.ELU()), torch.zeros(2, 9))
    else:
        of = captured("attention", Attention(16, 2, causal=True), torch.zeros(2, 5, 16))
    level = IsaLevel("x86-64", "x86_64", 4, 16, (), ())
    native = programs.program(stages(of, NativeOptions()).executed, [level], tmp_path / "native", tile=1)
    inputs = draw(of, 300)
    for one, other in zip(opened(of).run(inputs), native(*inputs), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_what_a_page_loads_of_a_small_policy_is_small(activation: type[nn.Module]) -> None:
    """The loader and a module; the 25.6 kB of its weights are in each."""
    modules = compile_modules(perceptron(activation))
    loader = Path(__file__).parents[3] / "grandopt/compiler/backends/native/wasm/host/agent.js"
    for module in (modules.simd, modules.scalar):
        assert len(module) + loader.stat().st_size < 60_000


class Functions(nn.Module):
    """What has no vector form, or strides that have none: functions of the library and of JavaScript."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        turned = x.unflatten(1, (3, 4)).transpose(1, 2)
        wide = x.double()
        return (
            *(f(x) for f in (torch.sin, torch.cos, torch.tan, torch.atan, torch.sinh, torch.cosh)),
            *(f(x.sin()) for f in (torch.asin, torch.acos, torch.atanh, torch.asinh)),
            torch.acosh(x.abs() + 1),
            *(f(x.abs() + 0.1) for f in (torch.log2, torch.log10, torch.digamma)),
            torch.exp2(x),
            torch.erfc(x),
            torch.lgamma(x),
            torch.special.polygamma(2, x.abs().clamp(max=50.0) + 0.5),
            torch.special.ndtri(x.sigmoid()),
            torch.pow(x.abs(), y),
            torch.atan2(x, y),
            torch.hypot(x, y),
            torch.fmod(x, y),
            torch.remainder(x, y),
            torch.nextafter(x, y),
            torch.fmin(x, y),
            torch.fmax(x, y),
            torch.copysign(x, y),
            turned.exp().flatten(1),
            torch.nn.functional.gelu(turned).flatten(1),
            torch.special.expm1(turned).flatten(1),
            torch.erf(wide),
            torch.erfc(wide),
            torch.log1p(wide.abs()),
            wide.tanh(),
            wide.round(),
        )


def test_functions_are_those_of_the_c_library(opened: Opened) -> None:
    of = captured("functions", Functions(), torch.rand(2, 12), torch.rand(2, 12))
    rng = np.random.default_rng(0)
    inputs = [(rng.standard_normal((40, 12)) * 3).astype(np.float32) for _ in range(2)]
    inputs[0][0, :6] = 0.0, -0.0, np.inf, -np.inf, np.nan, 1.0
    inputs[1][1, :6] = 0.0, -0.0, np.inf, -np.inf, np.nan, 1.0
    inputs[0][2], inputs[1][2] = 1.0, np.inf
    answers = [opened(of, module).run(inputs) for module in MODULES]
    for place, (result, scalar, wanted) in enumerate(zip(*answers, expected(of, inputs), strict=True)):
        np.testing.assert_allclose(result, wanted, rtol=4e-6, atol=4e-7, err_msg=f"output {place}")
        np.testing.assert_array_equal(result, scalar)


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(7, 4)

    def forward(self, index: Tensor) -> Tensor:
        return self.rows(index).sum(1)


def test_an_index_outside_its_table_is_refused(opened: Opened) -> None:
    of = captured("table", Table(), torch.zeros(2, 3, dtype=torch.int64))
    executor = opened(of)
    inside = [np.array([[0, 6, 3]])]
    np.testing.assert_allclose(executor.run(inside)[0], expected(of, inside)[0], rtol=1e-6)
    with pytest.raises(MeasurementError, match="table: an index is outside its table"):
        executor.run([np.array([[0, 7, 3]])])


def test_a_batch_that_memory_grows_for(opened: Opened) -> None:
    of = program(Policy)
    executor = opened(of)
    for batch in (1, 5000, 3):
        inputs = draw(of, batch, seed=batch)
        np.testing.assert_allclose(executor.run(inputs)[0], expected(of, inputs)[0], rtol=1e-5, atol=1e-6)
