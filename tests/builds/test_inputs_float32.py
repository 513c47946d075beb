"""Candidates that leave the layers that read raw observations in float32: in every engine, visibly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, candidates, key, left_out
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engine import PRECISIONS
from grandopt.config.engines import (
    ENGINES,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.errors import UnsupportedError
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.engines.conftest import need
from tests.native.conftest import REDUCED

LARGE = 1e6
"""The size of one feature: a row of int8 codes with it in has none for the others."""

BUILT = {
    "native-int8": Candidate("int8_dynamic", NativeOptions(weights="int8", levels=(REDUCED[0],))),
    "native-bfloat16": Candidate("bfloat16", NativeOptions(weights="bfloat16", levels=(REDUCED[0],))),
    "torchscript": Candidate("int8_dynamic", TorchScriptOptions(optimize_for_inference=False)),
    "onnxruntime-dynamic": Candidate("int8_dynamic", OnnxRuntimeOptions(quantization="dynamic")),
    "onnxruntime-static": Candidate("int8_static", OnnxRuntimeOptions(quantization="static")),
    "openvino-static": Candidate("int8_static", OpenVinoOptions(quantization="static")),
}


def network() -> nn.Module:
    """Its first layer ignores the large feature, which so costs the others their codes and nothing else."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 4))
    with torch.no_grad():
        net[0].weight[:, 0] = 0
    return net.eval()


def captured(module: nn.Module) -> Program:
    return capture(from_module("agent", module.eval(), torch.zeros(1, 64)), 0)


def observations(count: int, large: float = LARGE) -> Array:
    drawn = np.random.default_rng(5).standard_normal((count, 64)).astype(np.float32)
    drawn[:, 0] = large
    return drawn


@pytest.fixture(scope="module")
def agent() -> Program:
    return captured(network())


@pytest.mark.parametrize("name", BUILT)
def test_what_raw_observations_are_read_by_is_exact(name: str, agent: Program, tmp_path: Path) -> None:
    need(BUILT[name].engine)
    store, x = Store(tmp_path), observations(64)
    samples = (observations(64, 1.0),)
    with torch.no_grad():
        want = network()(torch.from_numpy(x)).numpy()
    scale = np.abs(want).max()
    candidate = BUILT[name].with_inputs_float32()
    artifact = build(agent, candidate, store, calibration=samples if candidate.calibrated else None)
    found = load(artifact.path).run((x,))[0]
    assert 0 < np.abs(found - want).max() < 0.03 * scale  # rounded inside, and there alone
    assert artifact.manifest.options["inputs_float32"] is True
    assert key(agent, candidate) != key(agent, BUILT[name])
    assert candidate.label == f"{BUILT[name].label}/inputs-float32"


def test_without_it_the_large_feature_takes_the_codes(agent: Program, tmp_path: Path) -> None:
    """What the other test would find if nothing were kept exact."""
    x = observations(64)
    with torch.no_grad():
        want = network()(torch.from_numpy(x)).numpy()
    for name in ("native-int8", "torchscript"):
        found = load(build(agent, BUILT[name], Store(tmp_path)).path).run((x,))[0]
        assert np.abs(found - want).max() > 0.1 * np.abs(want).max(), name


def test_without_evidence_all_of_reduced_precision_keep_their_inputs_exact(agent: Program) -> None:
    with_evidence = candidates(agent, ENGINES, PRECISIONS, every=True)
    without = candidates(agent, ENGINES, PRECISIONS, every=True, evidence=False)
    assert not any(item.inputs_float32 for item in with_evidence)
    assert all(item.inputs_float32 == (item.precision != "float32") for item in without)
    lacking = {item.label for item in with_evidence} - {
        item.label.removesuffix("/inputs-float32") for item in without
    }
    assert lacking == {"openvino/bfloat16", "openvino/bfloat16/no-snippets"}
    labels = [item.label for item in without]
    assert len(set(labels)) == len(labels)


def test_what_cannot_keep_them_exact_is_left_out_with_the_reason(agent: Program, tmp_path: Path) -> None:
    refusals = left_out(agent, ENGINES, PRECISIONS, evidence=False)
    assert [item.stage for item in refusals] == ["int8_static", "bfloat16"]
    assert "OpenVINO chooses itself which layers compute in bfloat16" in refusals[1].reason.text
    assert left_out(agent, ENGINES, PRECISIONS, samples=True) == ()
    alone = Candidate("bfloat16", OpenVinoOptions(inference_precision="bf16")).with_inputs_float32()
    need("openvino")
    with pytest.raises(UnsupportedError, match=r"no bfloat16 arithmetic|chooses itself"):
        build(agent, alone, Store(tmp_path))


@pytest.mark.parametrize("name", ["native-int8", "native-bfloat16", "torchscript", "onnxruntime-dynamic"])
def test_a_network_of_first_layers_alone_has_no_such_build(name: str, tmp_path: Path) -> None:
    need(BUILT[name].engine)
    one = captured(nn.Sequential(nn.Linear(64, 128), nn.ReLU()))
    with pytest.raises(UnsupportedError, match="read raw observations"):
        build(one, BUILT[name].with_inputs_float32(), Store(tmp_path))
