"""Sample Factory's checkpoints: made by itself where it is installed, and written here to its layout."""

from __future__ import annotations

import json
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
SETTINGS = {"nonlinearity": "elu", "adaptive_stddev": False, "obs_subtract_mean": 0.0, "obs_scale": 1.0}

GIVEN: dict[str, dict[str, Any]] = {
    "fixed_spread": {},
    "adaptive": {"fix": {"actions": "continuous"}},
    "separate": {},
    "discrete": {"fix": {"actions": "discrete"}},
    "several": {"fix": {"actions": "3,4"}},
    "gru": {},
    "lstm": {"fix": {"actions": "discrete"}},
    "image": {"fix": {"actions": "discrete"}},
}
"""What a user of each agent of `made_by/sample_factory_2.py` knows."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment.made_by("sample_factory_2", tmp_path_factory.mktemp("sample_factory"))


@pytest.mark.slow
def test_policies_of_sample_factory_itself_do_the_same(made: Path) -> None:
    for name, settings in GIVEN.items():
        (path,) = (made / name / "checkpoint_p0").glob("*.pth")
        with np.load(made / f"{name}.npz") as wanted:
            require_same(loaded(path, **settings), wanted["obs"], wanted["action"])
        assert detect.describe(path)["framework"] == "Sample Factory"


def _policy(outputs: int = ACTIONS, *, spread: bool = True) -> tuple[nn.Sequential, dict[str, torch.Tensor]]:
    """An MLP whose last layer is the distribution's, and its tensors under Sample Factory's names."""
    network = files.mlp(SIZE, 16, outputs)
    mean, var = files.statistics(SIZE)
    statistics = "obs_normalizer.running_mean_std.running_mean_std.obs"
    tensors = {
        f"{statistics}.running_mean": mean.double(),
        f"{statistics}.running_var": var.double(),
        f"{statistics}.count": torch.ones(1, dtype=torch.float64),
        **files.named(network[0], "encoder.encoders.obs.mlp_head.0"),
        **files.named(nn.Linear(16, 1), "critic_linear"),
        **files.named(network[2], "action_parameterization.distribution_linear"),
    }
    if spread:
        tensors["action_parameterization.learned_stddev"] = torch.zeros(outputs)
    return network, tensors


def _saved(
    folder: Path, tensors: dict[str, torch.Tensor], settings: Any = SETTINGS, *, beside: bool = False
) -> Path:
    run = folder / "checkpoint_p0"
    run.mkdir()
    if settings is not None:
        text = settings if isinstance(settings, str) else json.dumps(settings)
        ((run if beside else folder) / "config.json").write_text(text)
    content = {"train_step": 1, "env_steps": 64, "best_performance": -1e9, "model": tensors, "optimizer": {}}
    return files.saved(content, run / "checkpoint_000000001_64.pth")


def _mean(network: nn.Module, observation: torch.Tensor) -> torch.Tensor:
    mean, var = files.statistics(SIZE)
    with torch.no_grad():
        return network(((observation - mean) / (var + 1e-5).sqrt()).clamp(-5, 5))


@pytest.mark.parametrize("beside", [False, True])
def test_observations_are_centred_scaled_and_normalised(tmp_path: Path, beside: bool) -> None:
    network, tensors = _policy()
    settings = SETTINGS | {"obs_subtract_mean": 2.0, "obs_scale": 4.0, "continuous_tanh_scale": 0.5}
    found = loaded(_saved(tmp_path, tensors, settings, beside=beside))
    observation = files.observations(SIZE)
    wanted = (_mean(network, (observation - 2) / 4) / 0.5).tanh() * 0.5
    require_same(found, observation.numpy(), wanted.numpy())
    assert (found.contract.high, found.contract.clip_obs) == ((0.5,) * ACTIONS, 5.0)
    assert [item.used for item in found.statistics] == [True]
    assert found.source.details["settings"]["path"].endswith("config.json")


def test_the_kind_of_actions_has_to_be_said_where_spreads_may_be_among_the_outputs(tmp_path: Path) -> None:
    network, tensors = _policy(6, spread=False)
    path = _saved(tmp_path, tensors, SETTINGS | {"adaptive_stddev": True})
    assert "--fix actions=continuous|discrete|N,M,…" in refusal(path)
    observation = files.observations(SIZE)
    given = _mean(network, observation)
    require_same(loaded(path, fix={"actions": "continuous"}), observation.numpy(), given[:, :3].numpy())
    require_same(loaded(path, fix={"actions": "discrete"}), observation.numpy(), given.argmax(1).numpy())
    both = torch.stack([given[:, :2].argmax(1), given[:, 2:].argmax(1)], 1)
    require_same(loaded(path, fix={"actions": "2,4"}), observation.numpy(), both.numpy())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "the settings of its run are missing"),
        ("{", "is no JSON text"),
        ("[" * 100_000, "is no JSON text"),
        ("[]", "is no JSON object"),
        ({"nonlinearity": "gelu"}, "nonlinearity is 'gelu', which is none of elu, relu, tanh"),
        ({**SETTINGS, "obs_scale": "big"}, "obs_scale is 'big', no number"),
        ({**SETTINGS, "obs_scale": 0}, "obs_scale is 0"),
    ],
)
def test_settings_that_are_missing_or_wrong_are_one_line(tmp_path: Path, settings: Any, words: str) -> None:
    assert words in refusal(_saved(tmp_path, _policy()[1], settings))


@pytest.mark.parametrize(
    ("fix", "words"),
    [
        ({"actions": "some"}, "it must be continuous, discrete, or sizes that come to 5"),
        ({"actions": "2,2"}, "it must be continuous, discrete, or sizes that come to 5"),
        ({"actions": "continuous"}, "so the actions are choices"),
        ({"squashed": True}, "'fix' gives 'squashed'"),
    ],
)
def test_actions_that_do_not_fit_are_one_line(tmp_path: Path, fix: dict[str, Any], words: str) -> None:
    assert words in refusal(_saved(tmp_path, _policy(5, spread=False)[1]), fix=fix)


def test_a_resnet_is_refused_by_name(tmp_path: Path) -> None:
    _, tensors = _policy()
    tensors = {name: tensor for name, tensor in tensors.items() if "mlp_head" not in name}
    tensors |= files.named(nn.Conv2d(3, 16, 3), "encoder.encoders.obs.conv_head.0")
    assert "its encoder is a ResNet, which is not read" in refusal(_saved(tmp_path, tensors))


def test_images_need_a_size_where_no_statistics_have_it(tmp_path: Path) -> None:
    convolutions = nn.Sequential(
        nn.Conv2d(3, 16, 8, 4), nn.ELU(), nn.Conv2d(16, 32, 4, 2), nn.ELU(), nn.Flatten()
    )
    tensors = files.named(convolutions, "encoder.encoders.obs.enc.conv_head")
    tensors |= files.named(nn.Linear(32 * 3 * 3, 5), "action_parameterization.distribution_linear")
    path = _saved(tmp_path, tensors, SETTINGS | {"encoder_conv_architecture": "convnet_impala"})
    assert "add to this agent in grandopt.yaml the line `inputs: [{name: obs" in refusal(
        path, fix={"actions": "discrete"}
    )
    said = detect.describe(path)["asks"]
    assert said[-1].startswith("`inputs: [{name: obs, shape: [C, H, W]}]`")
    found = loaded(path, fix={"actions": "discrete"}, inputs=[{"name": "obs", "shape": [3, 36, 36]}])
    assert (found.inputs[0].shape, found.inputs[0].dtype) == ((3, 36, 36), "uint8")


def test_a_policy_with_encoders_of_a_user_s_own_is_left_to_them() -> None:
    from grandopt.compiler.checkpoints.frameworks.sample_factory import agent as sample_factory

    own = {"train_step": 1, "env_steps": 2, "model": files.named(files.mlp(SIZE, 4), "encoder.basic")}
    assert not sample_factory.recognises(own)
