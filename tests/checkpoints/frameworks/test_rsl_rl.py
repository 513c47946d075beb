"""RSL-RL's checkpoints, written here to the layouts of its versions, against its own formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files

SIZE, ACTIONS = 7, 3


def _load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def _answer(checkpoint: Checkpoint, *inputs: torch.Tensor) -> Any:
    with torch.no_grad():
        return checkpoint.module(*inputs)


def _old(actor: nn.Module, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    """An ActorCritic up to version 3."""
    critic = files.named(files.mlp(SIZE, 8, 1), "critic")
    return {"std": torch.ones(ACTIONS), **files.named(actor, "actor"), **critic, **more}


def _normalised(observation: torch.Tensor) -> torch.Tensor:
    held = files.rsl_rl_statistics(SIZE)
    return (observation - held["_mean"]) / (held["_std"] + 1e-2)


def test_version_1_is_the_network_alone(tmp_path: Path) -> None:
    actor = files.mlp(SIZE, 16, 8, ACTIONS)
    path = files.saved(files.rsl_rl(_old(actor)), tmp_path / "model_1500.pt")
    found = _load(path, activation="elu")
    observation = files.observations(SIZE)
    torch.testing.assert_close(_answer(found, observation), actor(observation))
    assert [(spec.name, spec.shape) for spec in found.inputs] == [("obs", (SIZE,))]
    assert found.output_names == ("action",)
    assert (found.contract.action, found.contract.normalised) == ("continuous", False)
    assert (found.source.format, found.source.details["versions"]) == ("rsl_rl", "1 to 3")
    assert found.statistics == ()


@pytest.mark.parametrize("version", ["2", "3", "4 or 5"])
def test_the_normaliser_is_folded_in_wherever_a_version_keeps_it(tmp_path: Path, version: str) -> None:
    actor, held = files.mlp(SIZE, 16, ACTIONS), files.rsl_rl_statistics(SIZE)
    match version:
        case "2":
            content = files.rsl_rl(_old(actor), obs_norm_state_dict=held, privileged_obs_norm_state_dict=held)
        case "3":
            inside = {f"actor_obs_normalizer.{name}": tensor for name, tensor in held.items()}
            content = files.rsl_rl({**_old(actor), **inside})
        case _:
            model = {**files.named(actor, "mlp"), "distribution.std_param": torch.ones(ACTIONS)}
            model |= {f"obs_normalizer.{name}": tensor for name, tensor in held.items()}
            content = files.rsl_rl(model, "actor_state_dict", critic_state_dict={})
    found = _load(files.saved(content, tmp_path / "model.pt"), activation="ELU")
    observation = files.observations(SIZE)
    torch.testing.assert_close(_answer(found, observation), actor(_normalised(observation)))
    assert found.source.details["versions"] == version
    assert found.contract.normalised
    assert [item.used for item in found.statistics] == [True]
    assert found.moments["obs"].std == pytest.approx((held["_std"][0] + 0.01).tolist())


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("version", [3, 5])
def test_memory_becomes_state(tmp_path: Path, kind: type[nn.GRU] | type[nn.LSTM], version: int) -> None:
    memory = files.seeded(lambda: kind(SIZE, 6, num_layers=2))
    actor = files.mlp(6, 8, ACTIONS)
    if version == 3:
        critic = {**files.named(memory, "memory_c.rnn"), **files.named(files.mlp(6, 8, 1), "critic")}
        policy = {"std": torch.ones(ACTIONS), **files.named(actor, "actor"), **critic}
        content = files.rsl_rl({**policy, **files.named(memory, "memory_a.rnn")})
    else:
        model = {**files.named(actor, "mlp"), **files.named(memory, "rnn.rnn")}
        content = files.rsl_rl({**model, "distribution.std_param": torch.ones(3)}, "actor_state_dict")
    found = _load(files.saved(content, tmp_path / "model.pt"), activation="elu")
    states = 2 if kind is nn.LSTM else 1
    assert [spec.name for spec in found.inputs] == ["obs", "h", "c"][: 1 + states]
    assert found.output_names == ("action", "h_next", "c_next")[: 1 + states]
    steps = files.observations(SIZE, 4 * 5).view(5, 4, SIZE)
    whole, _ = memory(steps)
    state = [torch.zeros(4, 2, 6)] * states
    for step, remembered in zip(steps, whole, strict=True):
        action, *state = _answer(found, step, *state)
        torch.testing.assert_close(action, actor(remembered))


def test_version_3_with_spreads_of_the_state_gives_the_means(tmp_path: Path) -> None:
    actor = files.mlp(SIZE, 8, 2 * ACTIONS)
    policy = _old(actor)
    del policy["std"]
    found = _load(files.saved(files.rsl_rl(policy), tmp_path / "model.pt"), activation="elu")
    observation = files.observations(SIZE)
    torch.testing.assert_close(_answer(found, observation), actor(observation)[:, :ACTIONS])


def _without_spread(tmp_path: Path) -> tuple[nn.Module, Path]:
    actor = files.mlp(SIZE, 8, 2 * ACTIONS)
    content = files.rsl_rl(files.named(actor, "mlp"), "actor_state_dict", critic_state_dict={})
    return actor, files.saved(content, tmp_path / "model.pt")


def test_of_version_5_a_distribution_without_parameters_has_to_be_named(tmp_path: Path) -> None:
    actor, path = _without_spread(tmp_path)
    with pytest.raises(CheckpointError, match=r"6 actions, or 3 .* --distribution none, gaussian or beta"):
        _load(path, activation="elu")
    observation = files.observations(SIZE)
    given = actor(observation)
    torch.testing.assert_close(
        _answer(_load(path, activation="elu", distribution="none"), observation), given
    )
    mean = _answer(_load(path, activation="elu", distribution="gaussian"), observation)
    torch.testing.assert_close(mean, given[:, :ACTIONS])


def test_of_a_beta_distribution_the_range_has_to_be_given(tmp_path: Path) -> None:
    actor, path = _without_spread(tmp_path)
    with pytest.raises(CheckpointError, match="give them with --action-bounds LOW,HIGH"):
        _load(path, activation="elu", distribution="beta")
    bounds = {"low": -2, "high": 1}
    found = _load(path, activation="elu", distribution="beta", bounds=bounds)
    observation = files.observations(SIZE)
    alpha, beta = (functional.softplus(part) + 1 for part in actor(observation).chunk(2, dim=1))
    torch.testing.assert_close(_answer(found, observation), alpha / (alpha + beta) * 3 - 2)
    assert (found.contract.low, found.contract.high) == ((-2.0,) * ACTIONS, (1.0,) * ACTIONS)


def test_the_settings_of_the_run_say_what_the_file_does_not(tmp_path: Path) -> None:
    actor, path = _without_spread(tmp_path)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "agent.yaml").write_text(
        "actor:\n  activation: elu\n  ids: !!python/object/apply:builtins.slice [0, 3, null]\n"
        "  hook: !!python/object/apply:os.system ['false']\n"
        "  distribution_cfg: {class_name: 'rsl_rl.modules:BetaDistribution', action_range: [-1.0, 1.0]}\n"
    )
    found = _load(path)
    alpha, beta = (functional.softplus(part) + 1 for part in actor(files.observations(SIZE)).chunk(2, dim=1))
    torch.testing.assert_close(
        _answer(found, files.observations(SIZE)), alpha / (alpha + beta) * 2 - 1, atol=1e-6, rtol=1e-5
    )
    assert found.source.details["settings"]["path"].endswith("agent.yaml")
    assert detect.describe(path)["asks"] == []


def test_inspect_says_what_was_recognised_and_what_is_asked_for(tmp_path: Path) -> None:
    _, path = _without_spread(tmp_path)
    said = detect.describe(path)
    assert (said["format"], said["framework"]) == ("rsl_rl", "RSL-RL")
    assert said["recognised"] == "the actor as RSL-RL 4 or 5 saves it"
    assert [line.partition(" ")[0] for line in said["asks"]] == ["--activation", "--distribution"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give it with --activation NAME"),
        ({"activation": "squarely"}, "activation 'squarely' is not known here; known are relu, elu"),
        ({"activation": "elu", "bounds": {"low": -1, "high": 1}}, "'bounds' cannot be used with"),
        ({"activation": "elu", "distribution": "beta"}, "'distribution' cannot be used with"),
        ({"activation": "elu", "statistics": "s.npz"}, "'statistics' cannot be used with"),
        ({"activation": "elu", "stepwise": True}, "'stepwise' cannot be used with"),
        ({"framework": "skrl"}, "'framework' cannot be used with a file that is no checkpoint of 'skrl'"),
        ({"framework": "none", "activation": "elu"}, "'activation' cannot be used with"),
    ],
)
def test_bad_settings_are_one_line(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    path = files.saved(files.rsl_rl(_old(files.mlp(SIZE, 8, ACTIONS))), tmp_path / "model.pt")
    with pytest.raises(CheckpointError) as caught:
        _load(path, **settings)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_or_a_network_reads_the_file_as_a_state_dict(tmp_path: Path) -> None:
    actor = files.mlp(SIZE, 8, ACTIONS)
    path = files.saved(files.rsl_rl(_old(actor)), tmp_path / "model.pt")
    for settings in ({"key": "model_state_dict"}, {"framework": "none", "key": "model_state_dict"}):
        with pytest.raises(CheckpointError, match="no plain stack"):
            _load(path, network="mlp:elu", **settings)


def test_a_fork_with_other_networks_is_left_to_the_user(tmp_path: Path) -> None:
    policy = {**_old(files.mlp(SIZE, 8, ACTIONS)), **files.named(files.mlp(SIZE, 4), "estimator")}
    path = files.saved(files.rsl_rl(policy), tmp_path / "model.pt")
    assert detect.describe(path)["format"] == "state_dict"


@pytest.mark.parametrize("damage", ["nan", "shape", "dtype"])
def test_damaged_weights_are_one_line(tmp_path: Path, damage: str) -> None:
    policy = _old(files.mlp(SIZE, 8, ACTIONS))
    match damage:
        case "nan":
            policy["actor.0.weight"][0, 0] = float("nan")
        case "shape":
            policy["actor.2.weight"] = torch.ones(ACTIONS, 9)
        case _:
            policy["actor.0.weight"] = policy["actor.0.weight"].double()
    path = files.saved(files.rsl_rl(policy), tmp_path / "model.pt")
    with pytest.raises(CheckpointError) as caught:
        _load(path, activation="elu")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


CONVOLUTIONS = "{stride: 2, padding: none, norm: batch, activation: relu, global_pool: avg}"
CAMERA = {"inputs": [{"name": "camera", "shape": [2, 9, 11]}]}


def _seeing(tmp_path: Path, cfg: str | None = CONVOLUTIONS) -> tuple[nn.Module, nn.Module, Path]:
    """Encoder and actor of an ActorCriticCNN of version 3 that sees one image and nothing else."""
    encoder = files.seeded(lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )).eval()  # fmt: skip
    encoder[1].running_mean += 0.1
    actor = files.mlp(4, 8, ACTIONS)
    critic = files.named(files.mlp(4, 8, 1), "critic")
    policy = {"std": torch.ones(ACTIONS), **files.named(actor, "actor"), **critic}
    path = files.saved(
        files.rsl_rl({**policy, **files.named(encoder, "actor_cnns.camera")}), tmp_path / "model.pt"
    )
    if cfg is not None:
        (tmp_path / "params").mkdir()
        settings = f"policy: {{activation: elu, actor_cnn_cfg: {cfg}}}"
        (tmp_path / "params" / "agent.yaml").write_text(settings)
    return encoder, actor, path


def test_convolutions_are_as_the_settings_of_the_run_describe_them(tmp_path: Path) -> None:
    encoder, actor, path = _seeing(tmp_path)
    found = _load(path, **CAMERA)
    images = torch.rand(6, 2, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(_answer(found, images), actor(encoder(images)))
    assert [spec.name for spec in found.inputs] == ["camera"]
    assert [line.partition(" ")[0] for line in detect.describe(path)["asks"]] == ["--input"]


@pytest.mark.parametrize(
    ("cfg", "settings", "words"),
    [
        (None, {**CAMERA, "activation": "elu"}, "strides of its convolutions are not in the file"),
        (CONVOLUTIONS, {}, "`inputs: [{name: camera, shape: [...]}]`"),
        (
            CONVOLUTIONS,
            {"inputs": [{"name": "camera", "shape": [18]}]},
            "'camera' as [channels, height, width]",
        ),
        (CONVOLUTIONS.replace("batch", "none"), CAMERA, "are others than its settings say"),
        (CONVOLUTIONS.replace("2,", "0,"), CAMERA, "stride 0, which is no size"),
        (CONVOLUTIONS.replace("avg", "sum"), CAMERA, "are none that RSL-RL takes"),
        ("{other: {stride: 2}}", CAMERA, "say nothing of the convolutions of 'camera'"),
    ],
)
def test_convolutions_that_are_not_known_are_one_line(
    tmp_path: Path, cfg: str | None, settings: dict[str, Any], words: str
) -> None:
    *_, path = _seeing(tmp_path, cfg)
    with pytest.raises(CheckpointError) as caught:
        _load(path, **settings)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1, SIZE + 1])
def test_statistics_of_another_size_are_refused(tmp_path: Path, size: int) -> None:
    """One number would be of every element of an observation."""
    inside = {f"actor_obs_normalizer.{key}": value for key, value in files.rsl_rl_statistics(size).items()}
    path = files.saved(files.rsl_rl({**_old(files.mlp(SIZE, 8, ACTIONS)), **inside}), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=rf"statistics are of {size} numbers, but 'obs' .* \[{SIZE}\]"):
        _load(path, activation="elu")


def test_a_kernel_that_is_long_and_narrow_is_no_reason_for_a_square_one(tmp_path: Path) -> None:
    """Whose weights would be a million times as many as the file holds."""
    *_, path = _seeing(tmp_path)
    content = torch.load(path)
    content["model_state_dict"]["actor_cnns.camera.0.weight"] = torch.zeros(4, 2, 10**6, 1)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="its kernels are of 1000000 by 1, and RSL-RL has squares"):
        _load(path, **CAMERA)
