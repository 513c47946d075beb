"""The 15 zips of real agents against what the real SB3 predicts for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.sb3 import statistics
from grandopt.config.schema import AgentConfig
from grandopt.signature import Array

AGENTS = [
    "a2c-Hopper-v3",
    "a2c-Pendulum-v1",
    "ars-CartPole-v1",
    "ars-Pendulum-v1",
    "ddpg-Pendulum-v1",
    "dqn-CartPole-v1",
    "ppo-BipedalWalker-v3",
    "ppo-CartPole-v1",
    "ppo-LunarLander-v2",
    "qrdqn-CartPole-v1",
    "sac-Hopper-v3",
    "sac-Pendulum-v1",
    "tqc-PandaReach-v1",
    "tqc-Pendulum-v1",
    "trpo-CartPole-v1",
]
NORMALISED = [
    "a2c-Hopper-v3",
    "a2c-Pendulum-v1",
    "ars-Pendulum-v1",
    "ppo-BipedalWalker-v3",
    "tqc-PandaReach-v1",
]
RANGE_SHARE = 1e-5
"""Ten times tighter than what an artifact must hold: this is the original, in SB3's own precision."""


def _inputs(checkpoint: Checkpoint, expected: dict[str, Array], kind: str) -> list[torch.Tensor]:
    if len(checkpoint.inputs) == 1:
        return [torch.from_numpy(expected[kind].astype(np.float32))]
    return [
        torch.from_numpy(expected[f"{kind}.{spec.name}"].astype(np.float32)) for spec in checkpoint.inputs
    ]


def _assert_same(checkpoint: Checkpoint, inputs: list[torch.Tensor], wanted: Array) -> None:
    got = checkpoint.module(*inputs).numpy()
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    contract = checkpoint.contract
    if contract.action == "argmax":
        np.testing.assert_array_equal(got, wanted)
    else:
        assert contract.low is not None
        assert contract.high is not None
        span = np.subtract(contract.high, contract.low)
        assert (np.abs(got - wanted) <= RANGE_SHARE * span).all()


def _expected(folder: Path, name: str) -> dict[str, Array]:
    with np.load(folder / "sb3" / f"{name}.expected.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", AGENTS)
def test_actions_are_those_of_sb3(shared_checkpoints: Path, name: str) -> None:
    path = shared_checkpoints / "sb3" / f"{name}.zip"
    checkpoint = detect.load(name, AgentConfig(checkpoint=path, vecnormalize="none"))
    expected = _expected(shared_checkpoints, name)
    _assert_same(checkpoint, _inputs(checkpoint, expected, "obs"), expected["action"])
    assert checkpoint.source.details["algorithm"] == name.partition("-")[0].upper().replace("QRDQN", "QR-DQN")
    assert not checkpoint.contract.normalised
    assert not checkpoint.module.training
    for _, tensor in checkpoint.module.named_parameters():
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad


@pytest.mark.parametrize("name", NORMALISED)
def test_statistics_beside_the_zip_are_folded_in(shared_checkpoints: Path, name: str) -> None:
    path = shared_checkpoints / "sb3" / f"{name}.zip"
    checkpoint = detect.load(name, AgentConfig(checkpoint=path))
    expected = _expected(shared_checkpoints, name)
    assert checkpoint.contract.normalised
    assert checkpoint.contract.clip_obs == 10.0
    if name == "tqc-PandaReach-v1":  # recorded without raw observations: make them from the statistics
        read = statistics.read(path.with_suffix(".vecnormalize.pkl"))
        assert read is not None
        for spec in checkpoint.inputs:
            moments = read.by_key[spec.name]
            scale = np.sqrt(moments.var + read.epsilon)
            expected[f"raw_obs.{spec.name}"] = expected[f"obs.{spec.name}"] * scale + moments.mean
    _assert_same(checkpoint, _inputs(checkpoint, expected, "raw_obs"), expected["action"])


@pytest.mark.parametrize("name", ["ppo-LunarLander-v2", "dqn-CartPole-v1", "qrdqn-CartPole-v1"])
def test_scores_are_those_the_decision_is_taken_from(shared_checkpoints: Path, name: str) -> None:
    path = shared_checkpoints / "sb3" / f"{name}.zip"
    checkpoint = detect.load(name, AgentConfig(checkpoint=path))
    expected = _expected(shared_checkpoints, name)
    assert checkpoint.scores is not None
    scores = checkpoint.scores(*_inputs(checkpoint, expected, "obs"))
    assert scores.shape == (128, *checkpoint.contract.groups)
    np.testing.assert_array_equal(scores.argmax(dim=-1).numpy(), expected["action"])
    shared = {parameter.data_ptr() for parameter in checkpoint.module.parameters()}
    assert {parameter.data_ptr() for parameter in checkpoint.scores.parameters()} <= shared


def test_bounds_that_mean_none_are_not_declared(shared_checkpoints: Path) -> None:
    folder = shared_checkpoints / "sb3"
    cart = detect.load("cart", AgentConfig(checkpoint=folder / "ppo-CartPole-v1.zip")).inputs[0]
    assert (cart.shape, cart.dtype, cart.low, cart.high) == ((4,), "float32", None, None)
    pendulum = detect.load("p", AgentConfig(checkpoint=folder / "sac-Pendulum-v1.zip")).inputs[0]
    assert (pendulum.low, pendulum.high) == ((-1.0, -1.0, -8.0), (1.0, 1.0, 8.0))


def test_description_names_what_is_inside(shared_checkpoints: Path) -> None:
    facts = detect.describe(shared_checkpoints / "sb3" / "tqc-PandaReach-v1.zip")
    assert facts["format"] == "sb3"
    assert facts["algorithm"] == "TQC"
    assert facts["sb3_version"] == "1.2.0"
    assert [spec["name"] for spec in facts["observations"]] == [
        "achieved_goal",
        "desired_goal",
        "observation",
    ]
    assert facts["layers"][0].startswith("Linear(in_features=13, out_features=64")
    (found,) = facts["statistics"]
    assert found["place"].endswith("tqc-PandaReach-v1.vecnormalize.pkl")
    assert (found["kind"], found["used"], found["reason"]) == ("VecNormalize", True, None)
    assert facts["parameters"] == sum(int(np.prod(t["shape"])) for t in facts["tensors"])
