"""Files that were saved on a GPU are read without one, and answer what they answered there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.born_on_a_gpu.make import mlp

FOLDER = Path(__file__).parent / "born_on_a_gpu"
ROUGH = {"traced_half": 5e-3, "traced_autocast": 5e-3}
"""Products in half precision are added up in another order there."""


def network() -> torch.nn.Module:
    return mlp(10, 32, 4)


def _answers(name: str, **settings: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    with np.load(FOLDER / "expected.npz") as stored:
        expected = dict(stored)
    agent = AgentConfig.model_validate({"checkpoint": FOLDER / name, **settings})
    checkpoint = detect.load("agent", agent)
    observation = torch.from_numpy(expected["x"]).to(getattr(torch, checkpoint.inputs[0].dtype))
    found = checkpoint.module(observation)
    assert found.device.type == "cpu"
    stem = name.partition(".")[0]
    return found.detach().float().numpy(), expected["state_dict" if name.endswith(".pth") else stem]


@pytest.mark.parametrize(
    "name",
    [
        "traced_mlp.pt", "traced_const.pt", "scripted_const.pt", "frozen_norm.pt",
        "traced_half.pt", "traced_autocast.pt",
    ],
)  # fmt: skip
def test_an_archive(name: str) -> None:
    dtype = "float16" if name == "traced_half.pt" else "float32"
    found, wanted = _answers(name, inputs=[{"name": "x", "shape": [10], "dtype": dtype}])
    np.testing.assert_allclose(found, wanted, atol=ROUGH.get(name.removesuffix(".pt"), 2e-6), rtol=0)


def test_a_cell_that_was_fused_for_the_gpu_is_named() -> None:
    with pytest.raises(
        CheckpointError, match=r"calls aten::_thnn_fused_gru_cell, which no CPU has: it was traced"
    ):
        _answers("traced_rnn.pt", inputs=[{"name": "x", "shape": [10]}])


def test_a_program() -> None:
    found, wanted = _answers("exported.pt2")
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["state_dict.pth", "legacy.pth"])
def test_a_state_dict(name: str) -> None:
    settings = {"network": f"{__name__}:network", "inputs": [{"name": "x", "shape": [10]}]}
    found, wanted = _answers(name, **settings)
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=0)


def test_a_module() -> None:
    found, wanted = _answers("module.pth", trust=True, inputs=[{"name": "x", "shape": [10]}])
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=0)
