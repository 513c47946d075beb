"""CleanRL's checkpoints, written here as its scripts write them, against their networks and formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from tests.checkpoints.frameworks import files
from tests.checkpoints.frameworks.agreement import loaded, refusal, require_same

SIZE, ACTIONS = 7, 3
Tensors = dict[str, torch.Tensor]


def _ppo(path: Path) -> tuple[nn.Sequential, Path]:
    actor = files.mlp(SIZE, 64, 64, ACTIONS, between=nn.Tanh)
    critic = files.named(files.mlp(SIZE, 64, 64, 1, between=nn.Tanh), "critic")
    content = {"actor_logstd": torch.zeros(1, ACTIONS), **critic, **files.named(actor, "actor_mean")}
    return actor, files.saved(content, path / "ppo.cleanrl_model")


def _statistics(path: Path, **more: Any) -> tuple[np.ndarray, np.ndarray, Path]:
    mean, var = (part.double().numpy() for part in files.statistics(SIZE))
    np.savez(path / "statistics.npz", mean=mean, var=var, **more)
    return mean, var, path / "statistics.npz"


def _wanted(network: nn.Module, observation: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observation.astype(np.float32))).numpy()


def test_ppo_is_refused_without_the_statistics_that_it_was_trained_behind(tmp_path: Path) -> None:
    _, path = _ppo(tmp_path)
    line = refusal(path)
    assert line.startswith(f"{path}: CleanRL trains this actor behind NormalizeObservation")
    assert "--statistics FILE.npz" in line
    assert detect.describe(path)["asks"] == [
        "--statistics FILE.npz: mean and var of NormalizeObservation, or none if there was none"
    ]


@pytest.mark.parametrize("own", [{}, {"epsilon": 0.1, "clip": 0.5, "count": 1e4}])
def test_ppo_normalises_with_the_statistics_that_are_given(tmp_path: Path, own: dict[str, float]) -> None:
    actor, path = _ppo(tmp_path)
    mean, var, file = _statistics(tmp_path, **own)
    found = loaded(path, statistics=file, bounds={"low": -0.1, "high": [0.1, 0.2, 0.3]})
    observation = files.observations(SIZE).numpy()
    clip = own.get("clip", 10.0)
    normalised = (observation - mean) / np.sqrt(var + own.get("epsilon", 1e-8))
    wanted = _wanted(actor, normalised.clip(-clip, clip)).clip(-0.1, [0.1, 0.2, 0.3]).astype(np.float32)
    require_same(found, observation, wanted)
    assert (found.contract.normalised, found.contract.clip_obs) == (True, clip)
    assert [(item.place, item.used) for item in found.statistics] == [(str(file), True)]
    assert found.moments["obs"].mean == pytest.approx(mean.tolist())


def test_ppo_without_normalisation_has_to_be_said_and_is_reported(tmp_path: Path) -> None:
    actor, path = _ppo(tmp_path)
    found = loaded(path, statistics="none")
    observation = files.observations(SIZE).numpy()
    require_same(found, observation, _wanted(actor, observation))
    (left,) = found.statistics
    assert (left.used, left.reason) == (False, "'statistics: none'")
    assert (found.contract.low, found.contract.normalised) == (None, False)


@pytest.mark.parametrize("atari", [False, True])
def test_dqn_takes_the_largest_q_value(tmp_path: Path, atari: bool) -> None:
    network = _atari(4) if atari else files.mlp(SIZE, 120, 84, 4, between=nn.ReLU)
    path = files.saved(files.named(network, "network"), tmp_path / "dqn.cleanrl_model")
    found = loaded(path)
    observation = _images() if atari else files.observations(SIZE).numpy()
    given = _wanted(network, observation / 255 if atari else observation)
    require_same(found, observation, given.argmax(1))
    assert found.contract.groups == (4,)
    assert (found.inputs[0].shape, found.inputs[0].dtype) == (
        ((4, 84, 84), "uint8") if atari else ((SIZE,), "float32")
    )


def _atari(outputs: int) -> nn.Sequential:
    made = files.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1),
            nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, outputs),
        )
    )  # fmt: skip
    for layer in made:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data.mul_(2.4)  # as much as a ReLU takes
            layer.bias.data.zero_()
    return made


def _images() -> np.ndarray:
    """Images that differ enough for another action now and then."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (12, 4, 84, 84)) * rng.random((12, 4, 1, 84))).astype(np.uint8)


def test_c51_takes_the_largest_expected_return(tmp_path: Path) -> None:
    network, atoms = files.mlp(SIZE, 120, 84, 4 * 11, between=nn.ReLU), torch.linspace(-4, 6, 11)
    content = {
        "model_weights": {**files.named(network, "network"), "atoms": atoms},
        "args": {"n_atoms": 11, "v_min": -4, "v_max": 6, "env_id": "CartPole-v1", "cuda": True},
    }
    found = loaded(files.saved(content, tmp_path / "c51.cleanrl_model"))
    observation = files.observations(SIZE).numpy()
    logits = torch.from_numpy(_wanted(network, observation)).view(-1, 4, 11)
    wanted = (logits.softmax(2) * atoms).sum(2).argmax(1).numpy()
    require_same(found, observation, wanted)
    assert found.source.details["algorithm"] == "C51"


def _actor(last: str, critics: int) -> tuple[nn.ModuleDict, Any]:
    """An actor of DDPG, TD3 or SAC, and what the script saves of it and its critics."""
    layers = {"fc1": nn.Linear(SIZE, 256), "fc2": nn.Linear(256, 256), last: nn.Linear(256, ACTIONS)}
    actor = files.seeded(lambda: nn.ModuleDict({name: _drawn(layer) for name, layer in layers.items()}))
    state = actor.state_dict()
    state["action_scale"], state["action_bias"] = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    if last == "fc_mean":
        state |= files.named(nn.Linear(256, ACTIONS), "fc_logstd")
    critic = nn.Linear(SIZE + ACTIONS, 1).state_dict()
    return actor, (state, *[critic] * critics) if critics else state


def _drawn(layer: nn.Linear) -> nn.Linear:
    return nn.Linear(layer.in_features, layer.out_features)


@pytest.mark.parametrize(("last", "critics"), [("fc_mu", 1), ("fc_mu", 2), ("fc_mean", 0), ("fc_mean", 2)])
def test_actors_of_ddpg_td3_and_sac_bring_their_bounds(tmp_path: Path, last: str, critics: int) -> None:
    actor, content = _actor(last, critics)
    path = files.saved(content, tmp_path / "actor.cleanrl_model")
    found = loaded(path)
    observation = files.observations(SIZE).numpy()
    hidden = torch.from_numpy(observation)
    with torch.no_grad():
        for name in ("fc1", "fc2"):
            hidden = actor[name](hidden).relu()
        scale, bias = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
        wanted = (actor[last](hidden).tanh() * scale + bias).numpy()
    require_same(found, observation, wanted)
    assert (found.contract.low, found.contract.high) == ((-1.0, -1.0, 0.0), (1.0, 3.0, 1.0))
    assert "'bounds' cannot be used with CleanRL's" in refusal(path, bounds={"low": -1, "high": 1})


@pytest.mark.parametrize(
    "content",
    [
        files.named(files.mlp(SIZE, 64, 84, 4), "network"),
        files.named(files.mlp(SIZE, 120, 84, 4), "q_network"),
        {**files.named(files.mlp(SIZE, 120, 84, 4), "network"), "step": torch.tensor(1)},
        {**files.named(files.mlp(SIZE, 8, ACTIONS), "actor_mean"), "actor_logstd": torch.zeros(1, ACTIONS)},
        {"model_weights": files.named(files.mlp(SIZE, 120, 84, 4), "network"), "args": {}},
        (files.named(files.mlp(SIZE, 8), "fc1"),),
    ],
)
def test_networks_that_may_be_anybody_s_are_left_to_the_user(content: Any) -> None:
    from grandopt.compiler.checkpoints.frameworks import cleanrl

    assert not cleanrl.recognises(content)


def test_statistics_of_other_observations_are_one_line(tmp_path: Path) -> None:
    _, path = _ppo(tmp_path)
    np.savez(tmp_path / "statistics.npz", mean=np.zeros(4), var=np.ones(4))
    assert "observation's shape [7]" in refusal(path, statistics=tmp_path / "statistics.npz")


@pytest.mark.parametrize("damage", ["scale", "shape", "nan"])
def test_damaged_actors_are_one_line(tmp_path: Path, damage: str) -> None:
    _, (state, critic) = _actor("fc_mu", 1)
    match damage:
        case "scale":
            state["action_scale"] = torch.zeros(ACTIONS)
        case "shape":
            state["fc2.weight"] = torch.ones(9, 9)
        case _:
            state["fc1.weight"][0, 0] = float("nan")
    assert refusal(files.saved((state, critic), tmp_path / "a.cleanrl_model"))


def test_complex_numbers_do_not_lose_a_part(tmp_path: Path) -> None:
    held = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("fc1", "fc2", "fc_mu")}).state_dict()
    held |= {"action_scale": torch.full((1, 4), 1 + 2j), "action_bias": torch.zeros(1, 4)}
    said = refusal(files.saved((held, {}), tmp_path / "a.cleanrl_model"))
    assert "'0.action_scale' is complex" in said
