"""Another method of an archive than `forward` is called, and outputs that nobody wants are not computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.program import evaluate
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, InputError

X = [{"name": "x", "shape": [3]}]


class Policy(nn.Module):
    """A critic in forward, and an actor that remembers in a method."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.actor = nn.Linear(3, 2)
        self.critic = nn.Linear(3, 1)
        self.register_buffer("h", torch.ones(1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.critic(x)
        return result

    @torch.jit.export
    def act(self, x: torch.Tensor, deterministic: bool = True, gain: float = 2.0) -> torch.Tensor:
        mean: torch.Tensor = gain * self.actor(x)
        if deterministic:
            return mean
        return mean + torch.rand_like(mean)

    @torch.jit.export
    def step(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.h = 0.5 * self.h + self.actor(x)  # type: ignore[has-type]
        return {"action": self.h.tanh(), "value": self.critic(x)}

    @torch.jit.export
    def reset(self) -> None:
        self.h = torch.zeros(1, 2)


class OnlyAct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Linear(3, 2)

    @torch.jit.export
    def act(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.actor(x)
        return result


class Three(nn.Module):
    """Three layers, each an output of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.first(x), self.second(x), self.third(x)


def script(module: nn.Module, folder: Path) -> Path:
    path = folder / "policy.pt"
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def opened(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("a", AgentConfig.model_validate({"checkpoint": path, "inputs": X, **settings}))


def layers(checkpoint: Checkpoint) -> int:
    """The products in what would be compiled."""
    program = capture(checkpoint, 0)
    assert program.exported is not None
    return sum(
        "linear" in str(node.target) or "addmm" in str(node.target) for node in program.exported.graph.nodes
    )


def test_a_method_with_its_defaults_and_fixed_arguments(tmp_path: Path) -> None:
    path, policy, x = script(Policy(), tmp_path), Policy().eval(), torch.randn(4, 3)
    found = opened(path, method="act")
    torch.testing.assert_close(found.module(x), 2.0 * policy.actor(x))
    assert found.source.details["method"] == "act"
    assert "forward, reset, step" in found.source.details["left_out"]
    fixed = opened(path, method="act", fix={"gain": 0.5, "deterministic": True})
    torch.testing.assert_close(fixed.module(x), 0.5 * policy.actor(x))
    torch.testing.assert_close(opened(path).module(x), policy.critic(x))
    torch.testing.assert_close(opened(path, method="forward").module(x), policy.critic(x))
    with pytest.raises(CheckpointError, match="draws random numbers"):
        opened(path, method="act", fix={"deterministic": False})


def test_a_method_that_remembers_begins_with_what_reset_sets(tmp_path: Path) -> None:
    found = opened(script(Policy(), tmp_path), method="step")
    (state,) = found.contract.state
    assert (state.input, state.initial) == ("network.h", 0.0)
    assert found.output_names == ("action", "value", "network.h_next")
    policy, h, x = Policy().eval(), torch.zeros(4, 2), torch.randn(4, 3)
    action, _, h_next = evaluate(found.module, (x, h))
    torch.testing.assert_close(action, policy.actor(x).tanh())
    torch.testing.assert_close(h_next, policy.actor(x))


def test_an_archive_without_forward(tmp_path: Path) -> None:
    path = script(OnlyAct(), tmp_path)
    assert detect.describe(path)["methods"] == ["act"]
    with pytest.raises(
        CheckpointError, match=r"no forward method \(its methods: act\); choose one.*--method"
    ):
        opened(path)
    assert tuple(opened(path, method="act").module(torch.zeros(4, 3)).shape) == (4, 2)


def test_methods_are_listed(tmp_path: Path) -> None:
    facts = detect.describe(script(Policy(), tmp_path))
    assert sorted(facts["methods"]) == ["act", "reset", "step"]
    assert facts["inputs"] == ["x"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("actt", r"has no method 'actt'; its methods: forward, act, reset, step"),
        ("__setstate__", r"has no method '__setstate__'"),
    ],
)
def test_a_method_that_is_none_is_refused(tmp_path: Path, method: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        opened(script(Policy(), tmp_path), method=method)


def test_a_method_of_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(
        CheckpointError, match="'method' cannot be used with anything but a TorchScript archive"
    ):
        opened(path, method="act")


def test_outputs_of_an_archive_are_kept_by_name_with_the_state(tmp_path: Path) -> None:
    path, x, h = script(Policy(), tmp_path), torch.randn(4, 3), torch.randn(4, 2)
    whole = opened(path, method="step")
    found = opened(path, method="step", outputs=["action"])
    assert found.output_names == ("action", "network.h_next")
    assert found.source.details["dropped"] == "outputs that are not kept (value)"
    action, _, h_next = evaluate(whole.module, (x, h))
    torch.testing.assert_close(evaluate(found.module, (x, h)), (action, h_next))
    assert (layers(whole), layers(found)) == (2, 1)
    turned = opened(path, method="step", outputs=["value", "action"])
    assert turned.output_names == ("value", "action", "network.h_next")
    torch.testing.assert_close(evaluate(turned.module, (x, h))[1], action)


@pytest.mark.parametrize("form", ["script", "exported", "code"])
def test_outputs_without_names_are_numbered(tmp_path: Path, form: str) -> None:
    path, x, network = tmp_path / "a.pt2", torch.randn(4, 3), Three().eval()
    settings: dict[str, Any] = {}
    if form == "script":
        path = script(network, tmp_path)
    elif form == "exported":
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        torch.export.save(torch.export.export(network, (torch.zeros(3, 3),), dynamic_shapes=shapes), path)
        settings["inputs"] = ()
    else:
        torch.save(network.state_dict(), path)
        settings["network"] = "tests.archives.test_methods:Three"
    found = opened(path, **settings, outputs=["output_2", "output_0"])
    assert found.output_names == ("output_2", "output_0")
    torch.testing.assert_close(evaluate(found.module, (x,)), (network.third(x), network.first(x)))
    assert layers(found) == 2
    one = opened(path, **settings, outputs=["output_1"])
    torch.testing.assert_close(one.module(x), network.second(x))
    assert layers(one) == 1
    renamed = opened(path, **settings, outputs=["a", "b", "c"])
    assert renamed.output_names == ("a", "b", "c")
    with pytest.raises(
        InputError, match=r"'outputs' names 'action', which is none; the outputs are output_0, "
    ):
        opened(path, **settings, outputs=["action"])
