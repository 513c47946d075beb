"""Networks in float64, half and mixtures: right by their own yardstick, or refused with the reason."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate, build, original
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.config.profiles import PROFILES
from grandopt.errors import UnsupportedError
from grandopt.runtime.loader import load
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.verify import verify
from tests.engines.conftest import need

ENGINES: tuple[EngineOptions, ...] = (
    EagerOptions(),
    TorchScriptOptions(),
    NativeOptions(),
    OnnxRuntimeOptions(),
    OpenVinoOptions(),
)
DTYPES = (torch.float64, torch.float16, torch.bfloat16)
REFUSED = {
    ("native", torch.float64): r"aten\.linear\.default of float64",
    ("native", torch.float16): "of float16 is not covered",
    ("native", torch.bfloat16): "of bfloat16 is not covered",
    ("openvino", torch.float64): r"OpenVINO computes \w+ of float64 in float32",
    ("onnxruntime", torch.bfloat16): None,
}


class Normalised(nn.Module):
    """float64 statistics ahead of a float32 network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([1e5, -3e6, 40.0], dtype=torch.float64))
        self.register_buffer("var", torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64))
        self.net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(((x - self.mean) / self.var.sqrt()).clamp(-10, 10).float())


@functools.cache
def _program(dtype: torch.dtype) -> Program:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    return capture(from_module("agent", network.to(dtype), torch.zeros(2, 6, dtype=dtype)))


def _oracle(of: Program, store: Store) -> Oracle:
    executor = load(original(of, store).path, trust=True)
    return Oracle.prepare(reference(of), executor, cases(of.signature), of.contract)


@pytest.mark.parametrize("options", ENGINES, ids=lambda options: options.engine)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_networks_of_one_dtype(store: Store, dtype: torch.dtype, options: EngineOptions) -> None:
    need(options.engine)
    of = _program(dtype)
    if (options.engine, dtype) in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[options.engine, dtype]):
            build(of, Candidate("float32", options), store)
        return
    oracle = _oracle(of, store)
    executor = load(build(of, Candidate("float32", options), store).path, trust=True)
    verdict = verify(executor, oracle, precision="float32", limits=PROFILES["basic"].limits)
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_reference_is_float64_and_the_yardstick_the_network_s_own_error(
    store: Store, dtype: torch.dtype
) -> None:
    of = _program(dtype)
    found = reference(of)
    assert (found.precision, found.reason) == ("float64", None)
    own = _oracle(of, store).spreads[0, 0]
    eps = torch.finfo(dtype).eps
    assert own.error <= 16 * eps * own.scale
    assert (own.error > eps / 16 * own.scale) == (dtype != torch.float64)


@pytest.mark.parametrize("options", ENGINES, ids=lambda options: options.engine)
def test_statistics_in_float64_are_applied_in_float64(store: Store, options: EngineOptions) -> None:
    need(options.engine)
    network = Normalised().eval()
    of = capture(from_module("agent", network, np.zeros((2, 3))))
    assert of.signature.inputs[0].dtype == "float64"
    if options.engine == "openvino":
        with pytest.raises(UnsupportedError, match="OpenVINO computes Sub"):
            build(of, Candidate("float32", options), store)
        return
    executor = load(build(of, Candidate("float32", options), store).path, trust=True)
    spread = np.random.default_rng(0).normal(size=(64, 3)) * network.var.sqrt().numpy()
    observations = network.mean.numpy() + spread
    with torch.no_grad():
        wanted = network(torch.from_numpy(observations)).numpy()
    np.testing.assert_allclose(executor.run([observations])[0], wanted, rtol=1e-5, atol=1e-6)
