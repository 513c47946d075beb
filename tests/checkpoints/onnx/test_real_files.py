"""ONNX files that projects ship, read with nothing but the file, against what their own runtime answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig

POLICIES = Path(__file__).parents[3].parent / "shared" / "policies"
FILES = {
    "bhl_biped_50hz": "1 in the file",
    "mjp_go1_policy": "1 in the file",
    "godot_ballchase": "dynamic batch from the file",
    "drl3dball_ddpg": "12 in the file",
    "snnctrl_policy": "none in the file",
}
"""With what is said of the batch of each."""


def _rows(name: str, checkpoint: Checkpoint) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """All recorded inputs and outputs of a file as one batch."""
    expected = np.load(POLICIES / f"{name}.expected.npz")
    inputs = [
        torch.from_numpy(expected[f"in_{spec.name}"].reshape(-1, *spec.shape)) for spec in checkpoint.inputs
    ]
    outputs = [expected[f"out_{output}"] for output in checkpoint.output_names]
    rows = len(inputs[0])
    return inputs, [torch.from_numpy(value.reshape(rows, -1)) for value in outputs]


@pytest.mark.skipif(not POLICIES.is_dir(), reason="the real policies are not beside the checkout")
@pytest.mark.parametrize("name", FILES)
def test_it_answers_as_its_own_runtime_does(name: str) -> None:
    checkpoint = detect.load(name, AgentConfig(checkpoint=POLICIES / f"{name}.onnx"))
    assert checkpoint.source.details["batch"].startswith(FILES[name])
    assert checkpoint.source.details["compared_with"] == "onnx.reference: equal"
    inputs, expected = _rows(name, checkpoint)
    with torch.no_grad():
        result = checkpoint.module(*inputs)
    answers = result if isinstance(result, tuple | list) else (result,)
    for answer, wanted in zip(answers, expected, strict=True):
        torch.testing.assert_close(
            answer.reshape(len(answer), -1), wanted, rtol=0.0, atol=2e-5 * float(wanted.abs().max())
        )


@pytest.mark.skipif(not POLICIES.is_dir(), reason="the real policies are not beside the checkout")
def test_the_state_of_a_godot_agent_is_recognised() -> None:
    checkpoint = detect.load("godot", AgentConfig(checkpoint=POLICIES / "godot_ballchase.onnx"))
    assert [(state.input, state.output) for state in checkpoint.contract.state] == [
        ("state_ins", "state_outs")
    ]
    assert checkpoint.output_names == ("output", "state_outs")
