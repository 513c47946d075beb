"""Checkpoints made by the frameworks' own code, against the actions that they themselves take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.checkpoints.frameworks.environment import made_by
from tests.native.conftest import BEST

pytestmark = pytest.mark.slow

NATIVE = Candidate("float32", BEST)
"""What the first case of each script is built as; the others are held against the rebuilt policy."""

STREAMS = 50
"""Rows of one step of an agent with memory; the scripts in `made_by` step so, too."""

BOUNDS = {"low": -2, "high": 1}


@dataclass(frozen=True)
class Case:
    """A file that a script writes, with what its user has to say."""

    file: str
    settings: dict[str, Any] = field(default_factory=dict)


def _all(files: str, **settings: Any) -> list[Case]:
    return [Case(file, settings) for file in files.split()]


CASES: dict[str, list[Case]] = {
    "rsl_rl_5": [
        *_all("mlp.pt gru.pt lstm.pt", activation="elu"),
        Case("plain.pt", {"activation": "celu"}),
        Case("heteroscedastic.pt", {"activation": "elu", "distribution": "gaussian"}),
        Case("beta.pt", {"activation": "elu", "distribution": "beta", "bounds": BOUNDS}),
        Case("cnn.pt", {"activation": "elu", "inputs": [{"name": "camera", "shape": [2, 16, 12]}]}),
    ],
    "rsl_rl_3": _all("mlp.pt heteroscedastic.pt gru.pt lstm.pt", activation="selu"),
    "rsl_rl_2": _all("mlp.pt lstm.pt plain.pt", activation="leaky_relu"),
    "rl_games": [
        *_all("mlp.pth lstm.pth gru_before.pth separate.pth", activation="elu", bounds=BOUNDS),
        Case("tanh.pth", {"activation": "elu,tanh", "bounds": BOUNDS}),
        *_all("discrete.pth multi.pth", activation="elu"),
    ],
    "skrl_2": [
        *_all("shared.pt separate.pt", activation="elu"),
        Case("tanh.pt", {"activation": "elu,tanh"}),
        Case("clipped.pt", {"activation": "elu", "bounds": {"low": -0.3, "high": 0.3}}),
    ],
    "skrl_1": [Case("separate.pt", {"activation": "relu,tanh"})],
}
"""By the script in `made_by`."""


@pytest.mark.parametrize("script", CASES)
def test_it_acts_as_the_framework_does(script: str, tmp_path: Path) -> None:
    made_by(script, tmp_path)
    for case in CASES[script]:
        path = tmp_path / case.file
        checkpoint = detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **case.settings}))
        expected = np.load(path.with_suffix(".npz"))
        _require_equal(_of_module(checkpoint, expected), expected["action"], path)
        if case is CASES[script][0]:
            artifact = build(capture(checkpoint), NATIVE, Store(tmp_path / "store"))
            _require_equal(np.asarray(load(artifact.path)(expected["obs"])), expected["action"], path)


def _of_module(checkpoint: Checkpoint, recorded: Mapping[str, Array]) -> Array:
    """What the rebuilt policy does with 1,000 observations; one with memory in steps of `STREAMS` streams."""
    with torch.no_grad():
        if not checkpoint.contract.state:
            inputs = [torch.from_numpy(recorded[spec.name]) for spec in checkpoint.inputs]
            return checkpoint.module(*inputs).numpy()
        state = [torch.zeros(STREAMS, *spec.shape) for spec in checkpoint.inputs[1:]]
        answers = []
        for step in torch.from_numpy(recorded["obs"]).split(STREAMS):
            action, *state = checkpoint.module(step, *state)
            answers.append(action)
    return torch.cat(answers).numpy()


def _require_equal(answers: Array, action: Array, path: Path) -> None:
    assert answers.shape == action.shape, path
    if action.dtype.kind == "i":
        assert (answers == action).all(), path
    else:
        assert np.abs(answers - action).max() <= 1e-5 * np.ptp(action), path
