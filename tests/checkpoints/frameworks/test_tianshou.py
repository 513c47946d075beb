"""Tianshou's checkpoints: made by itself where it is installed, and written here to its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from tests.checkpoints.frameworks import environment, files
from tests.checkpoints.frameworks.agreement import loaded, refusal, require_same

SIZE, ACTIONS = 7, 3
SPACE = {"low": [-2, 0, -1], "high": [2, 3, 1]}
LOW, HIGH = torch.tensor([-2.0, 0.0, -1.0]), torch.tensor([2.0, 3.0, 1.0])
Tensors = dict[str, torch.Tensor]

GIVEN: dict[str, dict[str, Any]] = {
    "ppo": {"activation": "tanh", "fix": {"unbounded": True}, "bounds": SPACE},
    "ppo_bounded": {"activation": "tanh", "fix": {"unbounded": False, "max_action": 0.8}, "bounds": SPACE},
    "sac": {"activation": "tanh", "fix": {"unbounded": True}, "bounds": SPACE},
    "ddpg": {"activation": "relu", "fix": {"max_action": 1.5}, "bounds": SPACE},
    "discrete_ppo": {"activation": "relu"},
    "dqn": {"activation": "relu"},
    "dueling": {"activation": "relu"},
    "c51": {"activation": "relu"},
    "qrdqn": {"activation": "relu"},
}
"""What a user of each agent of `made_by/tianshou_2.py` knows."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment.made_by("tianshou_2", tmp_path_factory.mktemp("tianshou"))


@pytest.mark.slow
def test_policies_of_tianshou_itself_do_the_same(made: Path) -> None:
    for name, settings in GIVEN.items():
        path = made / f"{name}.pth"
        with np.load(made / f"{name}.npz") as wanted:
            require_same(loaded(path, **settings), wanted["obs"], wanted["action"])
        assert detect.describe(path)["framework"] == "Tianshou"


def _net(prefix: str, *sizes: int, seed: int = 0) -> tuple[nn.Sequential, Tensors]:
    network = files.mlp(*sizes, between=nn.Tanh, seed=seed)
    return network, files.named(network, f"{prefix}.model.model")


def _actor(last: str, spread: bool, prefix: str = "actor") -> tuple[nn.Sequential, Tensors]:
    """A `Net` of one hidden layer, and the layer behind it, as 0.4 to 1.2 have them."""
    network = files.mlp(SIZE, 16, ACTIONS, between=nn.Tanh)
    tensors = {
        f"{prefix}.preprocess.model.model.0.weight": network[0].weight,
        f"{prefix}.preprocess.model.model.0.bias": network[0].bias,
        f"{prefix}.{last}.model.0.weight": network[2].weight,
        f"{prefix}.{last}.model.0.bias": network[2].bias,
    }
    if spread:
        tensors[f"{prefix}.sigma_param"] = torch.zeros(ACTIONS, 1)
    return network, {name: tensor.detach() for name, tensor in tensors.items()}


def _critic(name: str, taken: int) -> Tensors:
    return files.named(files.mlp(taken, 8, 1), f"{name}.preprocess.model.model")


def _observed() -> np.ndarray:
    return files.observations(SIZE).numpy()


def _mean(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(_observed()))


def _scaled(action: torch.Tensor) -> np.ndarray:
    return (LOW + (HIGH - LOW) * (action + 1) / 2).numpy()


@pytest.mark.parametrize("inside", [False, True])
def test_ppo_clips_the_mean_and_scales_it(tmp_path: Path, inside: bool) -> None:
    network, tensors = _actor("mu", spread=True)
    tensors |= _critic("critic", SIZE)
    path = files.saved({"model": tensors, "optim": {}} if inside else tensors, tmp_path / "policy.pth")
    found = loaded(path, activation="tanh", fix={"unbounded": True}, bounds=SPACE)
    require_same(found, _observed(), _scaled(_mean(network).clamp(-1, 1)))
    assert (found.contract.low, found.contract.high) == ((-2.0, 0.0, -1.0), (2.0, 3.0, 1.0))
    assert found.source.details["action_bound_method"] == "clip"
    raw = {"unbounded": True, "action_bound_method": "none"}
    require_same(loaded(path, activation="tanh", fix=raw, bounds="none"), _observed(), _mean(network).numpy())
    tanh = {"unbounded": True, "action_bound_method": "tanh"}
    require_same(
        loaded(path, activation="tanh", fix=tanh, bounds=SPACE), _observed(), _scaled(_mean(network).tanh())
    )


@pytest.mark.parametrize("critics", [(), ("critic1", "critic2", "critic1_old", "critic2_old")])
def test_sac_squashes_the_mean_and_a_policy_alone_has_to_say_it(
    tmp_path: Path, critics: tuple[str, ...]
) -> None:
    network, tensors = _actor("mu", spread=True)
    for name in critics:
        tensors |= _critic(name, SIZE + ACTIONS)
    path = files.saved(tensors, tmp_path / "policy.pth")
    fix: dict[str, Any] = {"unbounded": True}
    if not critics:
        assert "--fix squashed=true|false" in refusal(path, activation="tanh", fix=fix, bounds=SPACE)
        fix["squashed"] = True
    found = loaded(path, activation="tanh", fix=fix, bounds=SPACE)
    require_same(found, _observed(), _scaled(_mean(network).tanh()))
    assert found.contract.squashed


@pytest.mark.parametrize("taken", [SIZE, SIZE + ACTIONS, None])
def test_an_actor_that_chooses_is_told_from_one_that_does_not_by_its_critic(
    tmp_path: Path, taken: int | None
) -> None:
    network, tensors = _actor("last", spread=False)
    tensors |= {} if taken is None else _critic("critic", taken)
    path = files.saved(tensors, tmp_path / "policy.pth")
    numbers = _scaled((1.5 * _mean(network).tanh()).clamp(-1, 1))
    choices = _mean(network).argmax(1).numpy()
    continuous = {"activation": "tanh", "bounds": SPACE, "fix": {"max_action": 1.5}}
    if taken is None:
        assert "--fix actions=discrete|continuous" in refusal(path, activation="tanh")
        require_same(loaded(path, activation="tanh", fix={"actions": "discrete"}), _observed(), choices)
        continuous["fix"] = {"max_action": 1.5, "actions": "continuous"}
    if taken == SIZE:
        require_same(loaded(path, activation="tanh"), _observed(), choices)
    else:
        require_same(loaded(path, **continuous), _observed(), numbers)


def test_a_dqn_takes_the_largest_value(tmp_path: Path) -> None:
    network, tensors = _net("model", SIZE, 16, 5)
    path = files.saved({**tensors, **_net("model_old", SIZE, 16, 5)[1]}, tmp_path / "policy.pth")
    require_same(loaded(path, activation="tanh"), _observed(), _mean(network).argmax(1).numpy())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give it with --activation NAME"),
        ({"activation": "tanh"}, "whether the actor bounds its mean; give it with --fix unbounded"),
        ({"activation": "tanh", "fix": {"unbounded": False}}, "give it with --fix max_action=NUMBER"),
        ({"activation": "tanh", "fix": {"unbounded": True}}, "give it with --action-bounds LOW,HIGH"),
        (
            {"activation": "tanh", "fix": {"unbounded": "maybe"}},
            "unbounded='maybe'; it must be true or false",
        ),
        (
            {"activation": "tanh", "fix": {"unbounded": False, "max_action": -1}},
            "max_action=-1; it must be a positive number",
        ),
        (
            {"activation": "tanh", "fix": {"unbounded": True, "squashed": True}},
            "'fix' gives 'squashed', which this policy of Tianshou has no use for; it takes",
        ),
        (
            {
                "activation": "tanh",
                "fix": {"unbounded": True, "action_bound_method": "wrap"},
                "bounds": SPACE,
            },
            "it must be clip or tanh or none",
        ),
        (
            {"activation": "tanh", "fix": {"unbounded": True}, "bounds": {"low": [-1] * 2, "high": [1] * 2}},
            "'bounds' holds 2 numbers, but the action has 3",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    _, tensors = _actor("mu", spread=True)
    path = files.saved({**tensors, **_critic("critic", SIZE)}, tmp_path / "policy.pth")
    assert words in refusal(path, **settings)


def test_inspect_lists_what_is_asked_for(tmp_path: Path) -> None:
    _, tensors = _actor("last", spread=False)
    said = detect.describe(files.saved(tensors, tmp_path / "policy.pth"))
    assert [line.partition(":")[0] for line in said["asks"]] == [
        "--activation NAME",
        "--fix actions=discrete|continuous",
        "--fix max_action=NUMBER",
        "--action-bounds LOW,HIGH, or none without action_scaling",
    ]


def test_layers_that_are_not_linear_are_one_line(tmp_path: Path) -> None:
    _, tensors = _net("model", SIZE, 16, 5)
    tensors["model.model.model.1.weight"] = torch.ones(16)
    assert "numbered 0, 1, 2" in refusal(files.saved(tensors, tmp_path / "p.pth"), activation="relu")


@pytest.mark.parametrize(
    "content",
    [
        files.named(files.mlp(SIZE, 8, 5), "model.model"),
        files.named(files.mlp(SIZE, 8, 5), "actor.preprocess.model.model"),
        {**files.named(files.mlp(SIZE, 8, 5), "model.model.model"), "epoch": 3},
        {**files.named(files.mlp(SIZE, 8, 5), "model.model.model"), "model.noise": torch.ones(2)},
    ],
)
def test_others_networks_are_left_to_the_user(content: Any) -> None:
    from grandopt.compiler.checkpoints.frameworks.tianshou import agent as tianshou

    assert not tianshou.recognises(content)


def test_statistics_that_were_saved_beside_the_policy_have_to_be_given(tmp_path: Path) -> None:
    network, tensors = _net("model", SIZE, 16, 5)
    path = files.saved({"model": tensors, "obs_rms": None}, tmp_path / "policy.pth")
    assert "--statistics FILE.npz, or none" in refusal(path, activation="tanh")
    mean, var = files.statistics(SIZE)
    np.savez(tmp_path / "statistics.npz", mean=mean, var=var)
    found = loaded(path, activation="tanh", statistics=tmp_path / "statistics.npz")
    observed = torch.from_numpy(_observed())
    with torch.no_grad():
        values = network(((observed - mean) / (var + torch.finfo(torch.float32).eps).sqrt()).clamp(-10, 10))
    require_same(found, _observed(), values.argmax(1).numpy())
    assert found.contract.normalised
    without = loaded(path, activation="tanh", statistics="none")
    require_same(without, _observed(), _mean(network).argmax(1).numpy())
    assert [item.reason for item in without.statistics] == ["'statistics: none'"]
