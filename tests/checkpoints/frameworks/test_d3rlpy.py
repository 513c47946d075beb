"""d3rlpy's `.d3` files: made by itself where it is installed, and written here to its layout."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.errors import UntrustedError
from tests.checkpoints.frameworks import environment, files
from tests.checkpoints.frameworks.agreement import loaded, refusal, require_same
from tests.checkpoints.sb3_zips import Touch

SIZE, ACTIONS = 7, 3
NONE = {"type": "none", "params": {}}
ENCODER = {"type": "default", "params": {"activation": "relu", "use_batch_norm": False, "dropout_rate": None}}
MADE = ["sac", "cql", "td3", "iql", "bc", "dqn", "discrete_cql", "discrete_bc", "discrete_sac", "pixel"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment.made_by("d3rlpy_2", tmp_path_factory.mktemp("d3rlpy"))


@pytest.mark.slow
def test_algorithms_of_d3rlpy_itself_predict_the_same(made: Path) -> None:
    for name in MADE:
        path = made / f"{name}.d3"
        with np.load(made / f"{name}.npz") as wanted:
            require_same(loaded(path), wanted["obs"], wanted["action"])
        assert detect.describe(path)["framework"] == "d3rlpy"
    assert "'bcq' of d3rlpy draws its actions" in refusal(made / "bcq.d3")


def _config(algorithm: str, **params: Any) -> dict[str, Any]:
    own = {"actor_encoder_factory": ENCODER, "encoder_factory": ENCODER}
    own |= {
        "observation_scaler": NONE,
        "action_scaler": NONE,
        "q_func_factory": {"type": "mean", "params": {}},
    }
    return {
        "observation_shape": [SIZE],
        "action_size": ACTIONS,
        "config": {"type": algorithm, "params": {**own, **params}},
    }


def _states(network: nn.Sequential, last: str, key: str = "policy", prefix: str = "") -> dict[str, Any]:
    """The state dicts of a file whose deciding network is an MLP of two hidden layers."""
    tensors = files.named(network[0], f"{prefix}_encoder._layers.0")
    tensors |= files.named(network[2], f"{prefix}_encoder._layers.2")
    return {key: {**tensors, **files.named(network[4], f"{prefix}{last}")}, "optim": {"state": {}}}


def _d3(path: Path, states: Any, config: Any, version: Any = "2.8.1", protocol: int = 4) -> Path:
    buffer = io.BytesIO()
    torch.save(states, buffer)
    text = config if isinstance(config, str) else json.dumps(config)
    held = {"torch": buffer.getvalue(), "config": text, "version": version}
    path.write_bytes(pickle.dumps(held, protocol=protocol))
    return path


def _network() -> nn.Sequential:
    return files.mlp(SIZE, 16, 8, ACTIONS, between=nn.ReLU)


def _given(network: nn.Module, observation: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(observation)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_actor_is_scaled_on_both_sides(tmp_path: Path, protocol: int) -> None:
    network, (mean, var) = _network(), files.statistics(SIZE)
    low, high = [-2.0, 0.0, -1.0], [2.0, 3.0, 1.0]
    scalers = {
        "observation_scaler": {
            "type": "standard",
            "params": {"mean": mean.tolist(), "std": var.tolist(), "eps": 0.01},
        },
        "action_scaler": {"type": "min_max", "params": {"minimum": low, "maximum": high}},
    }
    path = _d3(tmp_path / "a.d3", _states(network, "_mu"), _config("sac", **scalers), protocol=protocol)
    found = loaded(path)
    observation = files.observations(SIZE)
    squashed = _given(network, (observation - mean) / (var + 0.01)).tanh()
    span = torch.tensor(high) - torch.tensor(low)
    require_same(found, observation.numpy(), (span * (squashed + 1) / 2 + torch.tensor(low)).numpy())
    assert (found.contract.low, found.contract.squashed) == ((-2.0, 0.0, -1.0), True)
    assert [item.kind for item in found.statistics] == ["StandardObservationScaler"]
    assert found.source.details == {**found.source.details, "algorithm": "sac", "d3rlpy_version": "2.8.1"}


def test_observations_are_brought_to_within_one(tmp_path: Path) -> None:
    network = _network()
    low, high = torch.full((SIZE,), -4.0), torch.linspace(1, 9, SIZE)
    scaler = {"type": "min_max", "params": {"minimum": low.tolist(), "maximum": high.tolist()}}
    config = _config("td3", observation_scaler=scaler)
    found = loaded(_d3(tmp_path / "a.d3", _states(network, "_fc"), config))
    observation = files.observations(SIZE)
    wanted = _given(network, (observation - low) / (high - low) * 2 - 1).tanh()
    require_same(found, observation.numpy(), wanted.numpy())


def test_q_functions_are_averaged(tmp_path: Path) -> None:
    first, second = _network(), files.mlp(SIZE, 16, 8, ACTIONS, between=nn.ReLU, seed=1)
    states = {"q_funcs": {}}
    for place, network in enumerate((first, second)):
        states["q_funcs"] |= _states(network, "_fc", "q_funcs", f"{place}.")["q_funcs"]
    found = loaded(_d3(tmp_path / "a.d3", states, _config("double_dqn")))
    observation = files.observations(SIZE)
    values = _given(first, observation) + _given(second, observation)
    require_same(found, observation.numpy(), values.argmax(1).numpy())


def test_nothing_in_the_pickle_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    held = {"torch": b"", "config": Touch(marker), "version": "2.8.1"}
    path = tmp_path / "a.d3"
    path.write_bytes(pickle.dumps(held))
    with pytest.raises(UntrustedError):
        loaded(path)
    assert not marker.exists()


def test_nothing_in_the_weights_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "touched"
    with pytest.raises(UntrustedError):
        loaded(_d3(tmp_path / "a.d3", {"policy": Touch(marker)}, _config("sac")))
    assert not marker.exists()


def _damaged(**config: Any) -> dict[str, Any]:
    return {**_config("sac"), **config}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "its settings are no JSON text"),
        ("[]", "its settings are no JSON object"),
        ({}, "its settings name no algorithm"),
        (_damaged(observation_shape=[SIZE, 0]), "one row of numbers, or one image, is read"),
        (_damaged(observation_shape=[1 << 40]), "observes 1,099,511,627,776 numbers; at most"),
        (_damaged(action_size=10**9), "actions; at most"),
        (_damaged(action_size=4), "the last layer gives 3 numbers for 4 actions"),
        (_config("crr"), "the algorithm 'crr' of d3rlpy draws its actions; export the policy with"),
        (_config("decision_transformer"), "'decision_transformer' of d3rlpy is not read; export the policy"),
        (_config("sac", actor_encoder_factory={"type": "mine", "params": {}}), "none of d3rlpy's own"),
        (_config("sac", actor_encoder_factory=None), "do not say of what kind the encoder is"),
        (
            _config("sac", actor_encoder_factory={"type": "vector", "params": {"activation": "geglu"}}),
            "activation 'geglu' of the encoder is not known here",
        ),
        (
            _config("sac", actor_encoder_factory={"type": "vector", "params": {"hidden_units": [16]}}),
            "is of no layer that the settings speak of",
        ),
        (
            _config("sac", actor_encoder_factory={"type": "vector", "params": {"use_batch_norm": True}}),
            "'_encoder._layers.2' is no norm",
        ),
        (_config("sac", observation_scaler={"type": "tuple", "params": {}}), "'tuple' are not read"),
        (
            _config("sac", observation_scaler={"type": "standard", "params": {"mean": [0], "std": [1]}}),
            "observation_scaler: mean holds [1] numbers, or NaN, where [7] belong",
        ),
        (
            _config("sac", action_scaler={"type": "min_max", "params": {"minimum": "x", "maximum": []}}),
            "action_scaler: minimum is no row of numbers",
        ),
        (_config("dqn"), "holds no weights of 'q_funcs', which dqn decides with"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(tmp_path: Path, config: Any, words: str) -> None:
    assert words in refusal(_d3(tmp_path / "a.d3", _states(_network(), "_mu"), config))


def test_settings_of_other_frameworks_are_refused(tmp_path: Path) -> None:
    path = _d3(tmp_path / "a.d3", _states(_network(), "_mu"), _config("sac"))
    assert "'activation' cannot be used with a checkpoint of d3rlpy" in refusal(path, activation="relu")
    assert "'fix' cannot be used with a checkpoint of d3rlpy" in refusal(path, fix={"max_action": 1})


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = _d3(tmp_path / "a.d3", _states(_network(), "_mu"), _config("sac"))
    whole = path.read_bytes()
    for share in (0.2, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert refusal(path).startswith(f"{path}")
