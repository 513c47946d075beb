"""The real archives and state dicts are read with what their users know, and answer as their runtime does."""

from __future__ import annotations

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
from tests.native.conftest import BEST

KNOWN: dict[str, dict[str, Any]] = {
    "unitree_g1_motion.pt": {"inputs": [{"name": "obs", "shape": [47]}]},
    "rlsar_l4w4.pt": {"inputs": [{"name": "obs", "shape": [570]}]},
    "rlsar_go2_himloco.pt": {"inputs": [{"name": "obs", "shape": [270]}]},
    "booster_T1.pt": {"inputs": [{"name": "obs", "shape": [47]}]},
    "wtw_actuator_go1.pt": {"inputs": [{"name": "x", "shape": [6]}]},
    "anydrive_v3_lstm.pt": {"inputs": [{"name": "x", "shape": [1, 2]}]},
    "xbot_policy_example.pt": {"inputs": [{"name": "obs", "shape": [705]}]},
    "finrl_crypto_actor.pth": {"network": "mlp:relu,tanh"},
    "rl_bipedal_actor.pth": {"network": "mlp:relu,tanh"},
    "drl3dball_ppo.pt": {"network": "mlp:tanh"},
}
"""What a user of each file knows of it."""

STATE = {
    "unitree_g1_motion.pt": ["hidden_state", "cell_state"],
    "anydrive_v3_lstm.pt": ["hc0.0", "hc0.1"],
}
STEPS = 1000


def opened(folder: Path, name: str) -> Checkpoint:
    if not (folder / name).is_file():
        pytest.skip(f"needs {folder / name}")
    return detect.load("policy", AgentConfig.model_validate({"checkpoint": folder / name, **KNOWN[name]}))


def truth(folder: Path, name: str) -> tuple[Array, Array]:
    """The inputs [N, …] or [N, B, …] of a file, and what its runtime answers."""
    with np.load(folder / f"{Path(name).stem}.expected.npz") as arrays:
        return arrays["inputs"], arrays["outputs"]


def stepped(checkpoint: Checkpoint, inputs: Array) -> Array:
    """The answers of a checkpoint to observations [N, B, …] one after the other, from its first state on."""
    state = [torch.zeros(inputs.shape[1], *spec.shape) for spec in checkpoint.inputs[1:]]
    answers = []
    with torch.no_grad():
        for observation in inputs:
            answer, *state = checkpoint.module(torch.from_numpy(observation), *state)
            answers.append(answer.numpy())
    return np.stack(answers)


def assert_close(found: Array, wanted: Array) -> None:
    """To rounding in float32, of values as large as the largest."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in STATE])
def test_it_answers_as_its_runtime_does(shared_policies: Path, name: str) -> None:
    checkpoint = opened(shared_policies, name)
    inputs, outputs = truth(shared_policies, name)
    flat = inputs.reshape(-1, inputs.shape[-1])
    with torch.no_grad():
        found = checkpoint.module(torch.from_numpy(flat)).numpy()
    assert_close(found.reshape(outputs.shape), outputs)
    assert checkpoint.contract.state == ()


@pytest.mark.parametrize("name", STATE)
def test_it_remembers_as_its_runtime_does(shared_policies: Path, name: str) -> None:
    checkpoint = opened(shared_policies, name)
    assert [tensor.input for tensor in checkpoint.contract.state] == STATE[name]
    assert all(tensor.initial == 0.0 for tensor in checkpoint.contract.state)
    inputs, outputs = truth(shared_policies, name)
    inputs = inputs.reshape(len(inputs), -1, *checkpoint.inputs[0].shape)
    assert_close(stepped(checkpoint, inputs).reshape(outputs.shape), outputs)


def test_a_batch_of_1_that_is_built_in_is_told(shared_policies: Path) -> None:
    assert (
        "a batch of 1 is built in; replaced"
        in opened(shared_policies, "rlsar_l4w4.pt").source.details["batch"]
    )
    assert "batch" not in opened(shared_policies, "booster_T1.pt").source.details


def test_inspect_lists_what_is_kept(shared_policies: Path) -> None:
    facts = detect.describe(shared_policies / "unitree_g1_motion.pt")
    assert facts["inputs"] == ["x"]
    assert facts["state"] == [
        {"name": "hidden_state", "shape": [1, 1, 64]},
        {"name": "cell_state", "shape": [1, 1, 64]},
    ]
    assert detect.describe(shared_policies / "anydrive_v3_lstm.pt")["inputs"] == ["x", "hc0.0", "hc0.1"]


@pytest.mark.slow
def test_a_session_walks_with_the_original(shared_policies: Path, tmp_path: Path) -> None:
    checkpoint = opened(shared_policies, "unitree_g1_motion.pt")
    store = Store(tmp_path)
    policy = load(build(capture(checkpoint), Candidate("float32", BEST), store).path)
    original = torch.jit.load(shared_policies / "unitree_g1_motion.pt", map_location="cpu").eval()
    session = policy.session()
    draws = np.random.default_rng(0).normal(size=(STEPS, 47)).astype(np.float32)
    for _ in range(2):
        original.reset_memory()
        session.reset()
        with torch.no_grad():
            wanted = np.stack([original(torch.from_numpy(row)[None])[0].numpy() for row in draws])
        found = np.stack([session(row) for row in draws])
        assert_close(found, wanted)
