"""Folders of Brax and LeRobot, and Flax files, made by their own code, against the actions that they take."""

from __future__ import annotations

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
from grandopt.config.schema import AgentConfig
from grandopt.runtime.loader import load
from tests.checkpoints.frameworks.environment import made_by
from tests.native.conftest import BEST

pytestmark = pytest.mark.slow

RANGE_SHARE = 1e-5
"""How far apart actions may be, as a share of the range that they have."""


@dataclass(frozen=True)
class Case:
    """A checkpoint that a script writes, by the name of its actions, with what its user has to say."""

    name: str
    path: str
    settings: dict[str, Any] = field(default_factory=dict)


STEP = "000000001000"
RELU = {"activation": "relu"}
CASES = {
    "brax_0_14": [
        *(Case(name, f"{name}/{STEP}") for name in ("plain", "dict", "normal", "spread", "norms")),
        Case("dqn", "dqn.cleanrl_model", {**RELU, "distribution": "categorical"}),
        Case("c51", "c51.cleanrl_model", RELU),
        Case("td3", "td3.cleanrl_model", {**RELU, "bounds": {"low": -1, "high": 2}}),
    ],
    "lerobot_0_4": [Case(name, name) for name in ("vectors", "pre_norm", "ranges", "cameras")],
}
"""By the script in `made_by`."""


@pytest.mark.parametrize("script", CASES)
def test_it_acts_as_the_framework_does(script: str, tmp_path: Path) -> None:
    """The rebuilt policy of every case, and the native build of the first."""
    made_by(script, tmp_path)
    for case in CASES[script]:
        settings = {"checkpoint": tmp_path / case.path, **case.settings}
        checkpoint = detect.load("agent", AgentConfig.model_validate(settings))
        expected = np.load(tmp_path / f"{case.name}.npz")
        wanted = expected["action"]
        given = [expected[spec.name if spec.name in expected else "obs"] for spec in checkpoint.inputs]
        with torch.no_grad():
            answers = [checkpoint.module(*map(torch.from_numpy, given)).numpy()]
        if case is CASES[script][0]:
            artifact = build(capture(checkpoint), Candidate("float32", BEST), Store(tmp_path / "store"))
            answers.append(load(artifact.path).run(given)[0])
        for answer in answers:
            assert answer.shape == wanted.shape
            limit = 0 if wanted.dtype.kind == "i" else RANGE_SHARE * np.ptp(wanted)
            assert np.abs(answer - wanted).max() <= limit, case.name
