"""What torch.compile and DataParallel leave behind: networks and names without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.module import wrappers
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.checkpoints.weight_files import network
from grandopt.config.schema import AgentConfig, InputConfig
from grandopt.errors import CheckpointError

NETWORK = f"{__name__}:make"


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


class Wrapped(nn.Module):
    """A network that has a part named `module` by itself, as wrappers of environments do."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 2)
        self.head = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.module(x))


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "module.module.", ""],
)
def test_a_state_dict_with_the_prefixes_of_wrappers_is_loaded(tmp_path: Path, prefix: str) -> None:
    original = make()
    path = tmp_path / "agent.pt"
    torch.save({f"{prefix}{key}": value for key, value in original.state_dict().items()}, path)
    config = AgentConfig(checkpoint=path, network=NETWORK, inputs=(InputConfig(name="x", shape=(3,)),))
    loaded = detect.load("agent", config).module
    x = torch.randn(5, 3)
    torch.testing.assert_close(loaded(x), original(x), rtol=0, atol=0)


@given(data=st.data())
def test_wrappers_anywhere_in_any_name_are_seen_through(data: st.DataObject) -> None:
    original = nn.ModuleDict({"actor": make(), "critic": make()})
    tensors = {}
    for key, value in original.state_dict().items():
        parts = key.split(".")
        for place in range(len(parts)):
            added = data.draw(st.lists(st.sampled_from(["_orig_mod", "module"]), max_size=2))
            parts[place] = ".".join([*added, parts[place]])
        tensors[".".join(parts)] = value
    twin = nn.ModuleDict({"actor": make(), "critic": make()})
    network.fit(twin, tensors, "here")
    for key, value in original.state_dict().items():
        assert torch.equal(twin.state_dict()[key], value)


def test_a_part_named_module_is_the_network_s_own() -> None:
    original = Wrapped()
    for prefix in ("", "module.", "_orig_mod."):
        twin = Wrapped()
        network.fit(twin, {f"{prefix}{k}": v for k, v in original.state_dict().items()}, "here")
        assert torch.equal(twin.module.weight, original.module.weight)


def test_names_that_are_one_without_wrappers_are_not_guessed_at() -> None:
    tensors = {"a.module.weight": torch.zeros(1), "module.a.weight": torch.ones(1)}
    assert wrappers.matched(tensors, ["a.weight"]) == tensors
    with pytest.raises(CheckpointError, match="missing"):
        network.fit(nn.ModuleDict({"a": nn.Linear(1, 1, bias=False)}), tensors, "here")


def test_what_does_not_fit_is_named_without_the_wrappers() -> None:
    tensors = {f"module.{key}": value for key, value in make().state_dict().items()}
    tensors["module.2.weight"] = torch.zeros(3, 4)
    with pytest.raises(CheckpointError, match=r"1 of another shape \(first '2.weight'"):
        network.fit(make(), tensors, "here")


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_modules_in_memory_are_unwrapped_and_stay_as_they_are(wrap: type) -> None:
    original = make()
    outer = wrap(nn.Sequential(original, nn.ReLU()))
    checkpoint = from_module("agent", outer, torch.zeros(2, 3))
    assert type(checkpoint.module) is nn.Sequential
    inside = nn.Sequential(wrap(original), nn.ReLU())
    checkpoint = from_module("agent", inside, torch.zeros(2, 3))
    assert [type(part) for part in checkpoint.module.children()] == [nn.Sequential, nn.ReLU]
    assert type(inside[0]) is not nn.Sequential
