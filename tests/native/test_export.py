"""The folder for hosts that are not Python: it builds, runs, and gives what the artifact gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.schema import EagerOptions
from grandopt.errors import ArtifactError, OutputError
from grandopt.runtime.loader import load
from grandopt.workflows.export import export_c
from tests.native.conftest import BEST
from tests.small_agents import Pair, draw, program


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_c_and_the_cpp_example_give_the_artifacts_outputs(tmp_path: Path) -> None:
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    folder = tmp_path / "c"
    names = export_c(artifact.path, folder)
    assert {"pair.h", "Makefile", "example.c", "example.cpp", "weights.bin"} <= set(names)
    done = subprocess.run(["make", "-C", folder], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    inputs = draw(program(Pair), 1)
    text = " ".join(f"{number:.9g}" for array in inputs for number in array.reshape(-1))
    wanted = np.concatenate([output.reshape(-1) for output in load(artifact.path).run(inputs)])
    for example in ("example_c", "example_cpp"):
        done = subprocess.run(
            [folder / example], input=text, capture_output=True, text=True, timeout=20, check=True
        )
        np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32), wanted.astype(np.float32))
    short = subprocess.run(
        [folder / "example_c"], input="1 2", capture_output=True, text=True, timeout=20, check=False
    )
    assert short.returncode == 1


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    eager = build(program(Pair), Candidate("float32", EagerOptions()), Store(tmp_path / "store"))
    with pytest.raises(ArtifactError, match="its engine is eager"):
        export_c(eager.path, tmp_path / "c")
    native = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    with pytest.raises(OutputError, match="is not empty"):
        export_c(native.path, tmp_path)


def test_the_weights_are_found_in_the_library(tmp_path: Path) -> None:
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    options = artifact.manifest.options
    assert options["weights_offset"] > 0
    export_c(artifact.path, tmp_path / "c")
    weights = (tmp_path / "c" / "weights.bin").read_bytes()
    assert len(weights) == options["weights_bytes"]
    network = program(Pair).module
    assert isinstance(network, nn.Module)
    bias = dict(network.named_parameters())["numbers.bias"]
    assert bias.detach().to(torch.float32).numpy().tobytes() in weights
