"""State dicts, safetensors and whole modules: found, fitted to the user's network, or refused by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from grandopt.private import told_path
from tests.agents import Actor, Critic

ACTOR: dict[str, Any] = {"network": "tests.agents:Actor", "inputs": [{"name": "state", "shape": [7]}]}


def _agent(path: Path, **settings: Any) -> AgentConfig:
    return AgentConfig.model_validate({"checkpoint": path, **settings})


def _actor(seed: int = 0) -> Actor:
    torch.manual_seed(seed)
    return Actor().eval()


def _states() -> torch.Tensor:
    return torch.randn((5, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", [None, "actors.0", "model_state_dict"])
def test_a_state_dict_is_found_and_fitted(tmp_path: Path, key: str | None, legacy: bool) -> None:
    actor, other = _actor(), _actor(seed=9)
    optimizer = torch.optim.Adam(other.parameters())
    contents = {
        None: actor.state_dict(),
        "actors.0": {"actors": [actor.state_dict(), other.state_dict()], "optimizer": optimizer.state_dict()},
        "model_state_dict": {"model_state_dict": actor.state_dict(), "epoch": 3},
    }
    path = tmp_path / "actor.pth"
    torch.save(contents[key], path, _use_new_zipfile_serialization=not legacy)
    checkpoint = detect.load("actor", _agent(path, key=key, **ACTOR))
    assert torch.equal(checkpoint.module(_states()), actor(_states()))
    assert not checkpoint.module.training
    assert not any(parameter.requires_grad for parameter in checkpoint.module.parameters())
    assert (checkpoint.source.format, checkpoint.source.path) == ("state_dict", told_path(path))
    assert checkpoint.inputs[0].shape == (7,)


def test_safetensors_are_fitted_and_keyed_by_prefix(tmp_path: Path) -> None:
    actor, path = _actor(), tmp_path / "weights.bin"
    save_file({f"actor.{name}": tensor for name, tensor in actor.state_dict().items()}, path)
    checkpoint = detect.load("actor", _agent(path, key="actor", **ACTOR))
    assert torch.equal(checkpoint.module(_states()), actor(_states()))
    assert detect.describe(path)["parameters"] == sum(p.numel() for p in actor.parameters())
    with pytest.raises(
        CheckpointError, match=r"no tensor's name begins with 'critic\.'; they begin with: actor"
    ):
        detect.load("actor", _agent(path, key="critic", **ACTOR))


def test_a_module_in_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from torch import nn\n\ndef make(size):\n    return nn.Linear(3, size)\n"
    (tmp_path / "own_networks.py").write_text(source)
    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    agent = _agent(
        Path("w.pt"),
        network="own_networks:make",
        network_args={"size": 4},
        inputs=[{"name": "x", "shape": [3]}],
    )
    assert detect.load("own", agent).module(torch.zeros(2, 3)).shape == (2, 4)
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "own_networks")


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (None, {}, r"holds weights but no network; add .* `network: my_module:MyNetwork`"),
        ("nowhere_to_be:Found", {}, "module 'nowhere_to_be' cannot be imported: ModuleNotFoundError"),
        ("tests.agents:Nobody", {}, r"module 'tests.agents' \(.*agents.py\) has no 'Nobody'"),
        ("tests.agents:__doc__", {}, "'__doc__' cannot be called"),
        ("tests.agents:Actor", {"depth": 3}, r"calling Actor\(depth=3\) failed: TypeError: .*'depth'"),
        ("builtins:dict", {}, "must return a torch.nn.Module, got dict"),
    ],
)
def test_a_network_that_cannot_be_made_is_named(
    tmp_path: Path, network: str | None, arguments: dict[str, Any], message: str
) -> None:
    path = tmp_path / "actor.pth"
    torch.save(_actor().state_dict(), path)
    agent = _agent(path, **{**ACTOR, "network": network, "network_args": arguments})
    with pytest.raises(CheckpointError, match=message):
        detect.load("actor", agent)


def test_weights_that_do_not_fit_are_named_by_kind_with_counts(tmp_path: Path) -> None:
    state = dict(_actor().state_dict())
    del state["net.4.weight"], state["net.4.bias"]
    state["extra.weight"] = torch.zeros(2, 2)
    state["net.0.weight"] = torch.zeros(256, 9)
    path = tmp_path / "actor.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        detect.load("actor", _agent(path, **ACTOR))
    text = str(caught.value)
    assert "2 missing (first 'net.4.weight' [256, 256])" in text
    assert "1 unexpected (first 'extra.weight' [2, 2])" in text
    assert "1 of another shape (first 'net.0.weight': file [256, 9], network [256, 7])" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "its top is a dict with the keys actors, epoch, not a state dict; set `key` to one of"),
        ("critics.0", "there is no 'critics' at the top, which holds actors, epoch"),
        ("actors.2", "there is no '2' under 'actors', which holds 0, 1"),
        ("epoch", "key 'epoch' is a int, not a state dict"),
        ("actors.0.body", "there is no 'body' under 'actors.0', which holds net.0.weight"),
    ],
)  # fmt: skip
def test_a_key_that_leads_nowhere_says_what_there_is(tmp_path: Path, key: str | None, message: str) -> None:
    path = tmp_path / "training.pth"
    torch.save({"actors": [_actor().state_dict(), _actor().state_dict()], "epoch": 3}, path)
    with pytest.raises(CheckpointError) as caught:
        detect.load("actor", _agent(path, key=key, **ACTOR))
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_weight_that_is_no_number_is_named(tmp_path: Path, value: float) -> None:
    state = _actor().state_dict()
    state["net.4.weight"][3, 4] = value
    path = tmp_path / "actor.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"tensor 'net.4.weight' \[256, 256\] holds"):
        detect.load("actor", _agent(path, **ACTOR))


def test_inputs_must_be_declared_and_fit(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    torch.save(_actor().state_dict(), path)
    with pytest.raises(
        CheckpointError, match=r"add .* the line `inputs: \[\{name: state, shape: \[...\]\}\]`"
    ):
        detect.load("actor", _agent(path, network="tests.agents:Actor"))
    wrong = {**ACTOR, "inputs": [{"name": "state", "shape": [8]}]}
    with pytest.raises(CheckpointError, match=r"does not take state \[2, 8\]: RuntimeError: mat1 and mat2"):
        detect.load("actor", _agent(path, **wrong))
    bounds = {**ACTOR, "inputs": [{"name": "state", "shape": [7], "low": [0.0, 1.0]}]}
    with pytest.raises(CheckpointError, match="'low' holds 2 numbers, but shape"):
        detect.load("actor", _agent(path, **bounds))
    with pytest.raises(CheckpointError, match="'vecnormalize' cannot be used with a state dict"):
        detect.load("actor", _agent(path, **ACTOR, vecnormalize=tmp_path / "v.pkl"))


def test_a_whole_module_is_loaded_only_when_trusted(tmp_path: Path) -> None:
    actor, path = _actor(), tmp_path / "module.pt"
    torch.save(actor, path)
    inputs = {"inputs": ACTOR["inputs"]}
    with pytest.raises(UntrustedError, match=r"would have to be unpickled.*tests\.agents\.Actor.*--trust"):
        detect.load("actor", _agent(path, **inputs))
    checkpoint = detect.load("actor", _agent(path, trust=True, **inputs))
    assert torch.equal(checkpoint.module(_states()), actor(_states()))
    assert checkpoint.source.format == "pickled"
    with pytest.raises(CheckpointError, match="'network' cannot be used with a pickled module"):
        detect.load("actor", _agent(path, trust=True, **ACTOR))
    assert detect.describe(path)["refused"].startswith("would have to be unpickled")
    assert detect.describe(path, trust=True)["module"] == "tests.agents.Actor"


def test_places_of_state_dicts_are_described(tmp_path: Path) -> None:
    critic, path = Critic(), tmp_path / "training.pth"
    content = {
        "actors": [_actor().state_dict()],
        "critic": critic.state_dict(),
        "optimizer": torch.optim.Adam(critic.parameters()).state_dict(),
        "losses": [0.1],
    }
    torch.save(content, path)
    facts = detect.describe(path)
    assert facts["format"] == "state_dict"
    assert [place["key"] for place in facts["state_dicts"]] == ["actors.0", "critic"]
    assert facts["state_dicts"][1]["tensors"][0] == {
        "name": "net.0.weight",
        "shape": [256, 7],
        "dtype": "float32",
    }


@pytest.mark.parametrize(("key", "network"), [("actors.0", "Actor"), ("critics.2", "Critic")])
def test_the_trading_agents_go_through(shared_checkpoints: Path, key: str, network: str) -> None:
    path = shared_checkpoints / "grandmodel" / "tactical_mappo.pth"
    settings = {**ACTOR, "network": f"tests.agents:{network}"}
    checkpoint = detect.load("agent", _agent(path, key=key, **settings))
    stored = torch.load(path, map_location="cpu", weights_only=True)
    kind, _, index = key.partition(".")
    weight = stored[kind][int(index)]["net.10.weight"]
    assert torch.equal(checkpoint.module.state_dict()["net.10.weight"], weight)
    assert checkpoint.module(_states()).shape == (5, weight.shape[0])
    places = [place["key"] for place in detect.describe(path)["state_dicts"]]
    assert places == [f"{kind}.{index}" for kind in ("actors", "critics") for index in range(3)]


def test_the_risk_agent_goes_through(shared_checkpoints: Path) -> None:
    agent = _agent(
        shared_checkpoints / "grandmodel" / "m_rms_model.pth",
        key="model_state_dict",
        network="tests.agents:MarketRisk",
        inputs=[{"name": "positions", "shape": [64]}, {"name": "risks", "shape": [32]}],
    )
    checkpoint = detect.load("risk", agent)
    assert checkpoint.module(torch.zeros(3, 64), torch.zeros(3, 32)).shape == (3, 1)


def test_the_placeholder_is_refused(shared_checkpoints: Path) -> None:
    path = shared_checkpoints / "grandmodel" / "decision_gate_placeholder.pth"
    with pytest.raises(UntrustedError, match=r"holds no tensors.*would need --trust to be unpickled"):
        detect.load("gate", _agent(path, **ACTOR))
    with pytest.raises(CheckpointError, match=r"its top is a dict with the keys model_name.*there is none"):
        detect.load("gate", _agent(path, **ACTOR, trust=True))
