"""What is proven must hold: of real executors, on states and in boxes, for every operator with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.backend import BuildStages, stages
from grandopt.compiler.backends.native.form import Linear, Op
from grandopt.compiler.bounds import propagate as propagating
from grandopt.compiler.bounds.certificate import certify
from grandopt.compiler.bounds.enclosure import Enclosure, exactly
from grandopt.compiler.bounds.propagate import Execution, propagate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.bounds.networks import NETWORKS, drawn, observations
from tests.native.conftest import REDUCED

OPTIONS = {
    "int8": NativeOptions(weights="int8", levels=(REDUCED[0],)),
    "int8-inside": NativeOptions(weights="int8", levels=(REDUCED[0],), inputs_float32=True),
    "bfloat16": NativeOptions(weights="bfloat16", levels=(REDUCED[0],)),
}


def captured(name: str, seed: int) -> Program:
    example = [torch.zeros(2, *array.shape[1:]) for array in observations(name, 0, 1)]
    return capture(from_module(name, drawn(name, seed), example), 0)


def bounded(made: BuildStages, inputs: Sequence[Enclosure]) -> Enclosure:
    """The bound of the first output of the build."""
    halved = frozenset[Op](op for op in made.executed.ops if isinstance(op, Linear)) - made.exact
    bfloat16 = halved if made.precision == "bfloat16" else frozenset[Op]()
    execution = Execution(made.executed, bfloat16, rounds_inputs=True)
    return propagate(made.simplified, execution, inputs, made.simplified.outputs)[0]


def outside(name: str, precision: str, folder: Path, *, seed: int = 0, scaled: bool = False) -> int:
    """How many outputs of the real executor lie outside their bounds, on states and in a box around each."""
    program, options = captured(name, seed), OPTIONS[precision]
    given = observations(name, seed + 1, 24)
    if scaled:
        given[0][:, 0] = 1000 + 50 * given[0][:, 1]
    calibration = given if scaled else None
    kind = "bfloat16" if precision == "bfloat16" else "int8_dynamic"
    artifact = build(program, Candidate(kind, options), Store(folder), calibration=calibration)
    assert bool(artifact.manifest.options["scaled"]) == scaled
    outputs = load(artifact.path).run(given)[0].astype(np.float64)
    made = stages(program, options, calibration)
    random = np.random.default_rng(seed)
    found = 0
    for row, output in enumerate(outputs):
        point = [exactly(array[row : row + 1]) for array in given]
        box = [_around(array[row : row + 1], random) for array in given]
        for inputs in (point, box):
            low, high = bounded(made, inputs).executed()
            found += int(((output < low[0]) | (output > high[0])).sum())
    return found


def _around(x: Array, random: np.random.Generator) -> Enclosure:
    """A box that x lies in, off its centre."""
    spread = 0.05 * np.abs(x) * random.random(x.shape)
    return exactly(x + spread * random.uniform(-0.99, 0.99, x.shape), spread)


@pytest.mark.parametrize("name", ["relu", "joined"])
def test_executed_outputs_lie_within_their_bounds(name: str, tmp_path: Path) -> None:
    assert outside(name, "int8", tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_and_precision_is_within_its_bounds(name: str, precision: str, tmp_path: Path) -> None:
    assert outside(name, precision, tmp_path, seed=3) == 0


def test_scaled_features_are_within_their_bounds(tmp_path: Path) -> None:
    assert outside("tanh", "int8", tmp_path, scaled=True) == 0


def test_a_bound_that_is_too_tight_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in ("HALF_CODE", "HALF_RECTIFIED_CODE"):
        monkeypatch.setattr(propagating, constant, getattr(propagating, constant) / 40)
    assert outside("relu", "int8", tmp_path) > 0


def test_certified_states_lead_to_the_same_action(tmp_path: Path) -> None:
    program, options = captured("relu", 5), OPTIONS["int8"]
    executor = load(build(program, Candidate("int8_dynamic", options), Store(tmp_path)).path)
    given = observations("relu", 6, 200)
    with torch.no_grad():
        wanted = program.module(*(torch.from_numpy(array) for array in given)).numpy()
    same = executor.run(given)[0].argmax(axis=1) == wanted.argmax(axis=1)
    found = certify(program, options, given, None, seconds=60.0)
    certain = np.array(found.certain)
    assert found.states == 200
    # Which of them were looked at in which order is not told: all 200 were, and so many are the same.
    assert same.sum() >= certain.sum()
    assert 0.4 < certain.mean() == found.share < 1
