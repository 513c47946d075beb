"""The folder for hosts that are not Python: it builds, runs, and gives what the artifact gives."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import EagerOptions
from grandopt.errors import ArtifactError, OutputError
from grandopt.runtime.loader import load
from grandopt.workflows.exporting.c_library import export_c
from tests.native.conftest import BEST
from tests.small_agents import Pair, draw, expected, program

EXAMPLES = ("example_c", "example_cpp", "example_c_shared", "example_cpp_shared")


def _make(folder: Path, *targets: str) -> None:
    command = ["make", "-C", folder, *targets]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_examples_give_the_artifacts_outputs_with_both_libraries(tmp_path: Path) -> None:
    """As they are delivered, and compiled again from the C source."""
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    folder = tmp_path / "c"
    names = export_c(artifact.path, folder)
    libraries = {"libpair.a", "libpair.so"}
    assert {"pair.h", "Makefile", "example.c", "example.cpp", "weights.bin"} | libraries <= set(names)
    inputs = draw(program(Pair), 1)
    text = " ".join(f"{number:.9g}" for array in inputs for number in array.reshape(-1))
    ours = np.concatenate([output.reshape(-1) for output in load(artifact.path).run(inputs)])
    original = np.concatenate([output.reshape(-1) for output in expected(program(Pair), inputs)])
    np.testing.assert_allclose(ours, original, rtol=1e-5, atol=1e-6)
    for targets in (("all",), ("clean", "libraries", "all")):
        _make(folder, *targets)
        for example in EXAMPLES:
            done = subprocess.run(
                [folder / example], input=text, capture_output=True, text=True, timeout=20, check=True
            )
            np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32), ours.astype(np.float32))
            short = subprocess.run(
                [folder / example], input="1 2", capture_output=True, text=True, timeout=20, check=False
            )
            assert short.returncode == 1


REFUSED = """
#include "pair.h"
#include <stdio.h>
int main(void) {
    static float in0[PAIR_IN0_SIZE], out0[PAIR_OUT0_SIZE], out2[PAIR_OUT2_SIZE];
    static uint8_t in1[PAIR_IN1_SIZE];
    static int64_t out1[PAIR_OUT1_SIZE];
    static _Alignas(64) unsigned char scratch[PAIR_SCRATCH_BYTES + 1];
    const int64_t batches[] = {1, 0, -1, INT64_MIN, INT64_MAX, INT64_MAX / 4};
    for (int i = 0; i < 6; ++i) printf("%d ", pair_run(in0, in1, out0, out1, out2, batches[i], scratch));
    printf("%d ", pair_run(NULL, in1, out0, out1, out2, 1, scratch));
    printf("%d ", pair_run(in0, NULL, out0, out1, out2, 1, scratch));
    printf("%d ", pair_run(in0, in1, NULL, out1, out2, 1, scratch));
    printf("%d ", pair_run(in0, in1, out0, out1, NULL, 1, scratch));
    printf("%d ", pair_run(in0, in1, out0, out1, out2, 1, NULL));
    printf("%d\\n", pair_run(in0, in1, out0, out1, out2, 1, scratch + 1));
    return 0;
}
"""


def test_arguments_that_the_c_function_refuses(tmp_path: Path) -> None:
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    folder = tmp_path / "c"
    export_c(artifact.path, folder)
    (folder / "refused.c").write_text(REFUSED)
    files = ["refused.c", "libpair.a", "-o", "refused", "-lm"]
    find_compiler().run(["-std=c11", *files], folder)
    done = subprocess.run([folder / "refused"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == [*"011111", *"2222", "2", "4"]


def test_the_static_libraries_cost_little(tmp_path: Path) -> None:
    """Their weights are those of the shared ones: the archive does not hold them again."""
    wide = program(Pair).but(name="wide")
    artifact = build(wide, Candidate("float32", BEST), Store(tmp_path / "store"))
    export_c(artifact.path, tmp_path / "c")
    weights = (tmp_path / "c" / "weights.bin").read_bytes()
    assert weights in (tmp_path / "c" / "libwide.a").read_bytes()
    with zipfile.ZipFile(io.BytesIO(artifact.payload("source.zip"))) as archive:
        assert weights not in archive.read("libwide.a")


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
