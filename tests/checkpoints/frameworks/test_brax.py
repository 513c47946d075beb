"""Folders of Brax, written here as Orbax lays them out, against Brax's own formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files, flax_files
from tests.checkpoints.frameworks import orbax_folders as orbax

SIZE, ACTIONS = 7, 3
CONFIG: dict[str, Any] = {
    "action_size": ACTIONS,
    "observation_size": SIZE,
    "normalize_observations": True,
    "network_factory_kwargs": {
        "activation": "silu", "policy_hidden_layer_sizes": [16, 8], "distribution_type": "tanh_normal",
        "value_network_kernel_init_fn": "lecun_uniform", "policy_obs_key": "state", "mean_clip_scale": None,
    },
}  # fmt: skip


def policy(between: type[nn.Module] = nn.SiLU, outputs: int = 2 * ACTIONS) -> nn.Sequential:
    """A policy's layers in torch."""
    return files.mlp(SIZE, 16, 8, outputs, between=between)


def arrays(network: nn.Module, place: str = "", part: str = "") -> dict[str, Any]:
    """The arrays of a folder: statistics, the policy at `place` in its tree, and a critic."""
    mean, var = files.statistics(SIZE)
    found: dict[str, Any] = {
        f"0.mean{part}": mean.numpy(), f"0.std{part}": var.sqrt().numpy(),
        "0.std_eps": np.float64(0).reshape(()), "0.count.lo": np.uint32(500).reshape(()),
        "2.params.hidden_0.kernel": np.ones((SIZE, 1), "float32"),
    }  # fmt: skip
    for index, layer in enumerate(flax_files.dense(network).values()):
        found |= {f"1.params.{place}hidden_{index}.{name}": value for name, value in layer.items()}
    return found


def folder(tmp_path: Path, held: dict[str, Any], config: Any = CONFIG, *, name: str = "ppo") -> Path:
    """The folder of one step, its arrays in a store."""
    path = tmp_path / "000000123456"
    return orbax.written(orbax.store(orbax.zarr(held)), path, **{f"{name}_network_config": config})


def changed(**settings: Any) -> dict[str, Any]:
    """The configuration with other settings of the network; those that are None are left out."""
    kept = {**CONFIG["network_factory_kwargs"], **settings}
    return {
        **CONFIG,
        "network_factory_kwargs": {key: value for key, value in kept.items() if value is not None},
    }


def load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def answer(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        given: torch.Tensor = checkpoint.module(files.observations(SIZE))
    return given


def normalised() -> torch.Tensor:
    mean, var = files.statistics(SIZE)
    return (files.observations(SIZE) - mean) / var.sqrt()


def refused(path: Path, **settings: Any) -> str:
    """What is said of the folder, after checking that it is one line that begins with the path."""
    with pytest.raises(CheckpointError) as caught:
        load(path, **settings)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said.removeprefix(str(path))


def test_it_is_the_mode_of_the_squashed_distribution(tmp_path: Path) -> None:
    network = policy()
    path = folder(tmp_path, arrays(network))
    found = load(path)
    wanted = network(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)
    assert [(spec.name, spec.shape) for spec in found.inputs] == [("obs", (SIZE,))]
    assert (found.contract.action, found.contract.squashed) == ("continuous", True)
    assert (found.contract.low, found.contract.high) == ((-1.0,) * ACTIONS, (1.0,) * ACTIONS)
    assert (found.source.format, found.source.details["algorithm"]) == ("brax", "PPO")
    assert [(item.place, item.used) for item in found.statistics] == [("0.mean", True)]
    assert found.moments["obs"].mean == pytest.approx(files.statistics(SIZE)[0].tolist())


def test_of_a_dict_it_takes_the_part_that_it_was_trained_on(tmp_path: Path) -> None:
    network = policy()
    config = {**CONFIG, "observation_size": {"state": [SIZE], "privileged_state": [SIZE + 2]}}
    found = load(folder(tmp_path, arrays(network, part=".state"), config))
    assert [(spec.name, spec.shape) for spec in found.inputs] == [("state", (SIZE,))]
    wanted = network(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("activation", "between"), [("elu", nn.ELU), ("relu", nn.ReLU), (None, nn.SiLU)])
def test_the_activation_is_the_configuration_s_else_brax_s(
    tmp_path: Path, activation: str | None, between: type[nn.Module]
) -> None:
    network = policy(between)
    found = load(folder(tmp_path, arrays(network), changed(activation=activation)))
    wanted = network(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)


def test_jax_s_gelu_is_the_approximation(tmp_path: Path) -> None:
    network = policy()
    network[1] = network[3] = nn.GELU(approximate="tanh")
    found = load(folder(tmp_path, arrays(network), changed(activation="gelu")))
    wanted = network(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)


def test_a_distribution_that_is_not_squashed_has_a_mean_of_its_own(tmp_path: Path) -> None:
    network = policy(outputs=ACTIONS)
    held = arrays(network, "MLP_0.")
    for name in ("kernel", "bias"):
        held[f"1.params.Dense_0.{name}"] = held.pop(f"1.params.MLP_0.hidden_2.{name}")
    held["1.params.std_param.value"] = np.ones(ACTIONS, "float32")
    config = changed(distribution_type="normal", mean_clip_scale=2.0)
    found = load(folder(tmp_path, held, config))
    mean = network(normalised())
    torch.testing.assert_close(answer(found), 2 * mean / (1 + mean.abs()), atol=1e-5, rtol=1e-5)
    assert (found.contract.low, found.contract.squashed) == (None, False)


def test_sac_may_have_norms_behind_its_activations(tmp_path: Path) -> None:
    network = policy(nn.ReLU)
    held = arrays(network)
    norms = [files.seeded(lambda size=size: nn.LayerNorm(size, eps=1e-6)) for size in (16, 8)]
    for index, norm in enumerate(norms):
        nn.init.normal_(norm.weight)
        held[f"1.params.LayerNorm_{index}.scale"] = norm.weight.detach().numpy()
        held[f"1.params.LayerNorm_{index}.bias"] = norm.bias.detach().numpy()
    settings = {"hidden_layer_sizes": [16, 8], "policy_network_layer_norm": True}
    path = folder(tmp_path, held, {**CONFIG, "network_factory_kwargs": settings}, name="sac")
    whole = nn.Sequential(*network[:2], norms[0], *network[2:4], norms[1], network[4])
    found = load(path)
    wanted = whole(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)
    assert found.source.details["algorithm"] == "SAC"


def test_statistics_are_left_where_the_agent_was_trained_without(tmp_path: Path) -> None:
    network = policy()
    found = load(folder(tmp_path, arrays(network), {**CONFIG, "normalize_observations": False}))
    wanted = network(files.observations(SIZE))[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)
    assert [item.used for item in found.statistics] == [False]
    assert not found.contract.normalised


def test_half_precision_is_widened(tmp_path: Path) -> None:
    network = policy()
    held = arrays(network)
    for name in held:
        if name.startswith("1."):
            held[name] = held[name].astype("float16")
    found = load(folder(tmp_path, held))
    for layer in network:
        if isinstance(layer, nn.Linear):
            layer.half().float()
    wanted = network(normalised())[:, :ACTIONS].tanh()
    torch.testing.assert_close(answer(found), wanted, atol=1e-6, rtol=1e-5)


def test_inspect_says_what_it_is(tmp_path: Path) -> None:
    path = folder(tmp_path, arrays(policy()))
    said = detect.describe(path)
    assert (said["format"], said["framework"], said["asks"]) == ("brax", "Brax", [])
    assert said["network"] == "Linear(7, 16), Linear(16, 8), Linear(8, 6)"
    assert said["size"] == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert said["sha256"] == load(path).source.sha256
    (path / "more").write_text("")
    assert detect.describe(path)["sha256"] != said["sha256"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**CONFIG, "action_size": 4}, "gives 6 numbers, and 'action_size' is 4"),
        ({**CONFIG, "observation_size": 8}, "takes 7 numbers, and 'observation_size' is 8"),
        (
            changed(policy_hidden_layer_sizes=[16]),
            "have [16, 8] units, and 'policy_hidden_layer_sizes' says [16]",
        ),
        (changed(activation="squarely"), "activation 'squarely' is not known here; known are relu"),
        (changed(activation={"partial": 1}), "does not name the activation; give it with --activation NAME"),
        (changed(state_obs_key="state"), "says 'state_obs_key', which no network of Brax's own has"),
        (changed(distribution_type="beta"), "'distribution_type' is not known here"),
        ([], "holds no JSON object, but a list"),
        ({**CONFIG, "network_factory_kwargs": 3}, "'network_factory_kwargs' is no object"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(tmp_path: Path, config: Any, words: str) -> None:
    assert words in refused(folder(tmp_path, arrays(policy()), config))


def test_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = folder(tmp_path, arrays(policy()))
    for name, value in (("bounds", {"low": -1, "high": 1}), ("stepwise", True), ("framework", "none")):
        assert f"'{name}' cannot be used with" in refused(path, **{name: value})


@pytest.mark.parametrize("name", ["0.std", "1.params.hidden_1.kernel", "1.params.hidden_0.bias"])
def test_missing_arrays_are_one_line(tmp_path: Path, name: str) -> None:
    held = arrays(policy())
    del held[name]
    if name.endswith("bias"):
        load(folder(tmp_path, held))  # a layer without one
    else:
        refused(folder(tmp_path, held))


def test_a_vision_policy_is_named_and_refused(tmp_path: Path) -> None:
    held = arrays(policy())
    held["1.params.CNN_0.Conv_0.kernel"] = np.ones((3, 3, 1, 4), "float32")
    assert "holds 'CNN_0.Conv_0.kernel', which is part of no plain network" in refused(folder(tmp_path, held))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_and_statistics_that_are_no_numbers_are_one_line(tmp_path: Path, number: float) -> None:
    for name in ("1.params.hidden_1.kernel", "0.mean", "0.std"):
        held = arrays(policy())
        held[name] = held[name].copy()
        held[name].flat[1] = number
        assert "NaN" in refused(folder(tmp_path / name, held))


def test_float64_is_named_and_refused(tmp_path: Path) -> None:
    held = arrays(policy())
    held["1.params.hidden_0.kernel"] = held["1.params.hidden_0.kernel"].astype("float64")
    assert "is of float64" in refused(folder(tmp_path, held))


def test_another_network_of_brax_is_named_and_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, arrays(policy()), name="bc")
    assert "of Brax's networks only ppo_network_config.json, sac_network_config.json" in refused(path)
