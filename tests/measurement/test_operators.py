"""Where the time goes: layers where the engine knows them, a reason where it knows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.config.engines import EagerOptions, TorchScriptOptions
from grandopt.errors import UnsupportedError
from grandopt.measurement.operators import OperatorProfile, profiled
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.subject import Subject
from grandopt.runtime.loader import load
from tests.fakes import FakeExecutor
from tests.small_agents import Policy, draw, expected, program


def profile(artifact: Artifact) -> OperatorProfile:
    ring = [np.random.default_rng(0).standard_normal((256, 8)).astype(np.float32)]
    with WorkerPool(1) as pool:
        return profiled(Subject("agent", artifact.path, trust=True), ring, pool)


def test_layers_of_the_original_network(tmp_path: Path) -> None:
    found = profile(original(program(Policy), Store(tmp_path)))
    assert found.reason is None
    assert found.call_us > 0
    layers = {item.layer for item in found.operators if item.name == "aten::addmm"}
    assert layers == {"hidden", "head"}
    assert all(item.calls == 1 for item in found.operators if item.name == "aten::addmm")
    assert any(item.layer == "" for item in found.operators if "softmax" in item.name)


def test_layers_of_an_exported_graph_and_its_results_afterwards(tmp_path: Path) -> None:
    of = program(Policy)
    executor = load(build(of, Candidate("float32", EagerOptions()), Store(tmp_path)).path)
    inputs = draw(of, 1)
    found = executor.operators([inputs] * 5)
    assert {item.layer for item in found if item.name == "aten::linear"} == {"hidden", "head"}
    assert np.allclose(executor.run(inputs)[0], expected(of, inputs)[0])


def test_torchscript_knows_operators_but_no_layers(tmp_path: Path) -> None:
    found = profile(build(program(Policy), Candidate("float32", TorchScriptOptions()), Store(tmp_path)))
    assert found.operators
    assert {item.layer for item in found.operators} == {None}


def test_an_engine_without_times_says_so() -> None:
    with pytest.raises(UnsupportedError, match="gives no times per operator"):
        FakeExecutor(program(Policy).signature, tuple).operators([])
