"""Reduced precision: what it costs, what it needs, and that it claims nothing about broken inputs."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.backends import openvino as backend
from grandopt.compiler.build import Candidate, build, key
from grandopt.config.engines import NativeOptions, OnnxRuntimeOptions, OpenVinoOptions
from grandopt.errors import EngineUnavailableError, UnsupportedError
from grandopt.runtime.loader import load
from tests.engines.conftest import agent, need
from tests.processor import need_bfloat16
from tests.small_agents import draw, expected

CANDIDATES = {
    "int8_dynamic": Candidate("int8_dynamic", OnnxRuntimeOptions(quantization="dynamic")),
    "int8_static": Candidate("int8_static", OnnxRuntimeOptions(quantization="static")),
    "int8_static-openvino": Candidate("int8_static", OpenVinoOptions(quantization="static")),
    "int8_native": Candidate("int8_dynamic", NativeOptions(weights="int8")),
    "bfloat16": Candidate("bfloat16", OpenVinoOptions(inference_precision="bf16")),
}
NAME = "structure_embedder"


def _built(kind: str, store: Store) -> Artifact:
    candidate = CANDIDATES[kind]
    need(candidate.engine)
    if kind == "bfloat16":
        need_bfloat16()
    return build(agent(NAME), candidate, store, calibration=draw(agent(NAME), 32, seed=1))


def _size(artifact: Artifact) -> int:
    return sum(entry.size for entry in artifact.manifest.payload)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CANDIDATES)
def test_the_error_is_that_of_the_precision(store: Store, kind: str) -> None:
    artifact, of = _built(kind, store), agent(NAME)
    assert artifact.manifest.precision == CANDIDATES[kind].precision
    assert artifact.manifest.passes == ()
    executor = load(artifact.path)
    for batch in (1, 6):
        inputs = draw(of, batch, seed=2)
        for got, want in zip(executor.run(inputs), expected(of, inputs), strict=True):
            error = np.linalg.norm(got - want) / np.linalg.norm(want)
            assert 1e-5 < error < 0.05, "neither the original's precision nor another function"


@pytest.mark.slow
@pytest.mark.parametrize("kind", CANDIDATES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_nan_and_the_others_are_not(
    store: Store, kind: str, value: float
) -> None:
    executor, of = load(_built(kind, store).path), agent(NAME)
    (bars,) = draw(of, 3, seed=3)
    clean = executor.run([bars])
    bars[1, 7, 2] = value
    for output, before in zip(executor.run([bars]), clean, strict=True):
        assert np.isnan(output[1]).all()
        np.testing.assert_allclose(output[[0, 2]], before[[0, 2]], rtol=0.1, atol=0.05)
    for output in executor.run([bars[1:2]]):
        assert np.isnan(output).all()
    for output in executor.run([bars[:1]]):
        assert np.isfinite(output).all()
    assert bars[1, 7, 2] == value or np.isnan(value), "inputs stay as they are"


def test_openvino_quantizes_with_onnx_runtime(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    need("openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what an import finds where it is not installed
    monkeypatch.delitem(sys.modules, "grandopt.runtime.executors.onnxruntime", raising=False)
    with pytest.raises(EngineUnavailableError, match=r"takes ONNX Runtime; pip install 'grandopt\[all\]'$"):
        backend.lower(agent(NAME), OpenVinoOptions(quantization="static"), draw(agent(NAME), 4, seed=1))


@pytest.mark.parametrize("kind", ["int8_dynamic", "int8_static"])
def test_int8_weights_are_smaller(store: Store, kind: str) -> None:
    need("onnxruntime")
    full = build(agent(NAME), Candidate("float32", OnnxRuntimeOptions()), store)
    assert _size(_built(kind, store)) < 0.4 * _size(full)


@pytest.mark.parametrize("kind", ["int8_static", "int8_static-openvino"])
def test_static_quantization_asks_for_samples(store: Store, kind: str) -> None:
    need(CANDIDATES[kind].engine)
    with pytest.raises(UnsupportedError, match=r"^structure_embedder: .* recorded samples; give 'samples'$"):
        build(agent(NAME), CANDIDATES[kind], store)


@pytest.mark.parametrize("kind", ["int8_static", "int8_static-openvino"])
def test_other_samples_are_another_build(kind: str) -> None:
    of, candidate = agent(NAME), CANDIDATES[kind]
    keys = {key(of, candidate, calibration=draw(of, 4, seed=seed)) for seed in (1, 2)}
    assert len({*keys, key(of, candidate)}) == 3


def test_bfloat16_is_refused_where_the_processor_has_none() -> None:
    backend.require_bfloat16(["FP32", "BF16"])
    with pytest.raises(UnsupportedError, match="no bfloat16 arithmetic on this processor"):
        backend.require_bfloat16(["FP32", "INT8"])
