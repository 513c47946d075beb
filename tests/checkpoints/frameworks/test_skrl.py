"""skrl's checkpoints, written here to the layout of its agents, against its formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files

SIZE, ACTIONS = 7, 3


def _load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def _policy(**more: torch.Tensor) -> tuple[nn.Sequential, dict[str, torch.Tensor]]:
    network = files.mlp(SIZE, 16, ACTIONS)
    return network, {
        "log_std_parameter": torch.zeros(ACTIONS),
        **files.named(network, "net_container"),
        **more,
    }


def _answer(checkpoint: Checkpoint, observation: torch.Tensor) -> Any:
    with torch.no_grad():
        return checkpoint.module(observation)


@pytest.mark.parametrize("place", ["observation_preprocessor", "state_preprocessor"])
def test_epsilon_stands_outside_the_root(tmp_path: Path, place: str) -> None:
    network, policy = _policy()
    held = files.skrl_statistics(SIZE)
    held["running_variance"][0] = 0.0  # where the place of the epsilon shows
    others = {"state_preprocessor": files.skrl_statistics(2)} if place.startswith("observation") else {}
    path = files.saved(files.skrl(policy, **others, **{place: held}), tmp_path / "agent_10.pt")
    found = _load(path, activation="elu")
    observation = files.observations(SIZE)
    divisor = torch.sqrt(held["running_variance"].float()) + 1e-8
    scaled = ((observation - held["running_mean"].float()) / divisor).clamp(-5, 5)
    torch.testing.assert_close(_answer(found, observation), network(scaled))
    assert [item.place for item in found.statistics if item.used] == [place]
    assert found.contract.normalised


def test_a_shared_model_has_its_last_layer_apart(tmp_path: Path) -> None:
    stack, last = (
        nn.Sequential(*files.mlp(SIZE, 16, 8), nn.ELU()),
        files.seeded(lambda: nn.Linear(8, ACTIONS)),
    )
    policy = {"log_std_parameter": torch.zeros(ACTIONS), **files.named(stack, "net_container")}
    policy |= {**files.named(last, "policy_layer"), **files.named(nn.Linear(8, 1), "value_layer")}
    found = _load(files.saved(files.skrl(policy), tmp_path / "a.pt"), activation="elu,tanh")
    observation = files.observations(SIZE)
    torch.testing.assert_close(_answer(found, observation), last(stack(observation)).tanh())


def test_the_settings_of_the_run_say_activations_output_and_clipping(tmp_path: Path) -> None:
    network, policy = _policy()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "params").mkdir()
    path = files.saved(files.skrl(policy), tmp_path / "checkpoints" / "best_agent.pt")
    written = tmp_path / "params" / "agent.yaml"
    model = (
        "{network: [{name: net, layers: [16], activations: [elu, elu]}], output: %s, clip_mean_actions: %s}"
    )
    written.write_text(f"models: {{policy: {model % ('tanh(ACTIONS)', 'false')}}}")
    observation = files.observations(SIZE)
    found = _load(path)
    torch.testing.assert_close(_answer(found, observation), network(observation).tanh())
    assert found.source.details["activation"] == "elu,tanh"
    assert detect.describe(path)["asks"] == []
    written.write_text(f"models: {{policy: {model % ('ACTIONS', 'true')}}}")
    with pytest.raises(CheckpointError, match="its settings say clip_mean_actions; give the bounds"):
        _load(path)
    clipped = _answer(_load(path, bounds={"low": -0.1, "high": 0.1}), observation)
    torch.testing.assert_close(clipped, network(observation).clamp(-0.1, 0.1))
    written.write_text(f"models: {{policy: {model % ('2 * tanh(ACTIONS)', 'false')}}}")
    with pytest.raises(CheckpointError, match=r"compute the output as '2 \* tanh\(ACTIONS\)'"):
        _load(path)


def test_a_deterministic_policy_is_clipped_by_a_setting_of_its_own(tmp_path: Path) -> None:
    network, policy = _policy()
    del policy["log_std_parameter"]
    content = {**files.skrl(policy), "target_policy": policy}
    path = files.saved(content, tmp_path / "best_agent.pt")
    (tmp_path / "config.yaml").write_text("models: {policy: {clip_actions: true, clip_mean_actions: false}}")
    with pytest.raises(CheckpointError, match="its settings say clip_actions; give the bounds"):
        _load(path, activation="elu")
    observation = files.observations(SIZE)
    clipped = _answer(_load(path, activation="elu", bounds={"low": -0.1, "high": 0.1}), observation)
    torch.testing.assert_close(clipped, network(observation).clamp(-0.1, 0.1))
    gaussian = files.saved(files.skrl(_policy()[1]), tmp_path / "agent_1.pt")  # only what it draws is clipped
    torch.testing.assert_close(_answer(_load(gaussian, activation="elu"), observation), network(observation))


def test_settings_that_cannot_be_read_are_named_where_they_are_missed(tmp_path: Path) -> None:
    path = files.saved(files.skrl(_policy()[1]), tmp_path / "agent.pt")
    (tmp_path / "config.yaml").write_text("a: [1")
    with pytest.raises(CheckpointError, match=r"config\.yaml:1: not valid YAML.*; give it with --activation"):
        _load(path)
    assert _load(path, activation="elu").contract.action == "continuous"


@pytest.mark.parametrize("kind", ["categorical", "own names"])
def test_other_policies_are_left_to_be_read_as_state_dicts(tmp_path: Path, kind: str) -> None:
    _, policy = _policy()
    if kind == "categorical":
        del policy["log_std_parameter"]
    else:
        policy |= files.named(nn.Linear(2, 2), "trunk")
    path = files.saved(files.skrl(policy), tmp_path / "agent.pt")
    assert detect.describe(path)["format"] == "state_dict"
