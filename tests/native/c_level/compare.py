"""One network in C: built, exported, compiled beside its rivals, compared with the original, then timed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.signature import Array
from grandopt.workflows.exporting.c_library import export_c
from tests.native.c_level.networks import NETWORKS, seeded, weights
from tests.native.conftest import BEST
from tests.native.recorded import write_job

HERE = Path(__file__).parent
EIGEN = Path("/usr/include/eigen3")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-DNDEBUG")
OBSERVATIONS = 64


@dataclass(frozen=True)
class Compared:
    """Median microseconds of a call, and the largest error beside the original, by library; ours is of
    `precision`. `refused` is whether the generator did not take the network."""

    microseconds: dict[str, float]
    errors: dict[str, float]
    precision: str = "float32"
    refused: bool = False


def missing() -> str | None:
    """What this machine lacks, with the way to get it; None where nothing is."""
    if not EIGEN.is_dir():
        return "Eigen is not installed: apt-get install libeigen3-dev"
    return None if shutil.which("g++") else "g++ is not installed"


def compare(
    name: str, folder: Path, *, rounds: int, generator: Path | None = None, best: bool = False
) -> Compared:
    """Build everything below `folder`, and measure `rounds` turns of 2 ms each; 0 only compares the answers.

    `generator` is the program emx-onnx-cgen. Ours is of float32, or with `best` what `grandopt optimize`
    ships on recorded observations, at any precision. Raises CalledProcessError when a compiler fails.
    """
    network, shape = seeded(name), NETWORKS[name].shape
    given = np.random.default_rng(5).standard_normal((OBSERVATIONS, *shape)).astype(np.float32)
    artifact = _shipped(name, folder) if best else _of_float32(network, given, folder)
    export_c(artifact.path, folder / "c")
    for array, file in ((weights(network), "weights.f32"), (given, "given.f32")):
        array.tofile(folder / file)
    generated = None if generator is None else _generated(network, given[:1], folder, generator)
    extra = [] if generated is None else ["-DWITH_GENERATOR", generated]
    program_file = folder / "bench"
    library = folder / "c" / "libagent.a"
    include = [f"-I{EIGEN}", f"-I{folder / 'c'}", f"-I{HERE}"]
    command = ["g++", "-std=c++17", *FLAGS, *include, f"-DMAKE={NETWORKS[name].cpp}"]
    _run([*command, HERE / "bench.cpp", *extra, library, "-lm", "-o", program_file])
    text = _run([program_file, folder / "weights.f32", folder / "given.f32", str(rounds)])
    found = _read(text, network(torch.from_numpy(given)).numpy())
    precision = artifact.manifest.precision
    return replace(found, precision=precision, refused=generator is not None and generated is None)


def _of_float32(network: torch.nn.Module, given: Array, folder: Path) -> Artifact:
    program = capture(from_module("agent", network, {"state": given[:2]}), 0)
    return build(program, Candidate("float32", BEST), Store(folder / "store"))


def _shipped(name: str, folder: Path) -> Artifact:
    """What the aggressive profile ships of the native engine, verified on recorded observations."""
    config = write_job(folder, {"agent": name})
    _run(
        [sys.executable, "-m", "grandopt", "optimize", "-c", config, "--engine", "native", "--output", folder]
    )
    return read(folder / "artifacts" / "agent")


def _generated(network: torch.nn.Module, example: Array, folder: Path, generator: Path) -> Path | None:
    """The object file of the generator's plain C loops; None for a network that it does not take."""
    model, source = folder / "model.onnx", folder / "generated.c"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.from_numpy(example),), model, dynamo=True, external_data=False, verbose=False
        )
    inline = str(1 << 30)  # weights in the C source, and nothing on the heap
    options = ["--large-weight-threshold", inline, "--large-temp-threshold", "0"]
    try:
        _run([generator, "compile", model, source, "--model-name", "generated", *options])
    except subprocess.CalledProcessError:
        return None
    _run(["gcc", "-std=gnu11", *FLAGS, "-c", source, "-o", source.with_suffix(".o")])
    return source.with_suffix(".o")


def _read(text: str, wanted: Array) -> Compared:
    times: dict[str, float] = {}
    errors: dict[str, float] = {}
    for line in text.splitlines():
        kind, library, *numbers = line.split()
        if kind == "answers":
            found = np.array(numbers, np.float64).reshape(wanted.shape)
            errors[library] = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        else:
            times[library] = float(numbers[0])
    return Compared(times, errors)


def _run(command: list[str | Path]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
