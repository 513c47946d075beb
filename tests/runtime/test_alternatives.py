"""Other ways to run an artifact, held to the contract of executors by what verification asks of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import OnnxRuntimeOptions, TorchScriptOptions
from grandopt.errors import ArtifactError
from grandopt.runtime import alternatives
from grandopt.runtime.executors.base import Executor
from tests.small_agents import Pair, Policy, draw, expected, program

Load = Callable[..., Executor]
COMPILED: tuple[Load, ...] = (
    alternatives.torch_compile,
    alternatives.torch_compile_freezing,
    alternatives.torch_compile_templates,
)


def original(agent: Program, folder: Path) -> Artifact:
    return build.original(agent, Store(folder / "store"))


@pytest.mark.slow  # a C++ compiler runs for each batch size
@pytest.mark.parametrize("load", COMPILED)
def test_torch_compile_answers_like_the_original(load: Load, tmp_path: Path) -> None:
    executor = load(original(program(Pair), tmp_path).path, trust=True, threads=1)
    for batch in (1, 5, 9, 1):
        inputs = draw(program(Pair), batch, seed=batch)
        results = executor.run(inputs)
        for result, wanted in zip(results, expected(program(Pair), inputs), strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
    first = executor.run(inputs)
    kept = [output.copy() for output in first]
    executor.run([np.zeros_like(array) for array in inputs])
    for output, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_torch_compile_needs_trust_as_the_original_does(tmp_path: Path) -> None:
    artifact = original(program(Policy), tmp_path)
    for load in COMPILED:
        with pytest.raises(ArtifactError, match="its payload is a pickle"):
            load(artifact.path)


def test_torch_compile_says_that_it_cannot_take_an_archive(tmp_path: Path) -> None:
    agent = capture(from_module("archive", nn.Linear(4, 2).eval(), torch.zeros(1, 4)))
    artifact = build.build(agent, Candidate("float32", TorchScriptOptions()), Store(tmp_path / "store"))
    with pytest.raises(ArtifactError, match="takes Python modules, and this is a torchscript artifact"):
        alternatives.torch_compile(artifact.path)


@pytest.mark.parametrize("network", [Policy, Pair])
def test_onnxruntime_run_answers_like_the_original(network: type[nn.Module], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    agent = program(network)
    artifact = build.build(agent, Candidate("float32", OnnxRuntimeOptions()), Store(tmp_path / "store"))
    executor = alternatives.onnxruntime_run(artifact.path, threads=1)
    for batch in (1, 7):
        inputs = draw(agent, batch)
        for result, wanted in zip(executor.run(inputs), expected(agent, inputs), strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
