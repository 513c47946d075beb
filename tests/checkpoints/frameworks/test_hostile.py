"""Checkpoints with a tensor missing, of another shape, dtype or kind: read, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files
from tests.checkpoints.frameworks.test_cleanrl import _actor as cleanrl_actor
from tests.checkpoints.frameworks.test_d3rlpy import _config, _d3, _network, _states
from tests.checkpoints.frameworks.test_sample_factory import SETTINGS, _policy
from tests.checkpoints.frameworks.test_tianshou import SPACE
from tests.checkpoints.frameworks.test_tianshou import _actor as tianshou_actor

Tensors = dict[str, Any]

BROKEN: tuple[Any, ...] = (
    None,  # stands for a missing one
    torch.tensor(1.0),
    torch.zeros(0, 3),
    torch.zeros(3, 0),
    torch.zeros(2, 2, 2),
    torch.zeros(4, 4, dtype=torch.int64),
    torch.zeros(1),
    torch.zeros(1, 1, 1, 1),
    "text",
    [1, 2],
)


def _plain(content: Tensors, folder: Path) -> Path:
    return files.saved(content, folder / "policy.pth")


def _c51(content: Tensors, folder: Path) -> Path:
    return files.saved({"model_weights": content, "args": {}}, folder / "c51.cleanrl_model")


def _run(content: Tensors, folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(SETTINGS | {"adaptive_stddev": True}))
    return files.saved({"train_step": 1, "env_steps": 2, "model": content}, folder / "best.pth")


def _policies(algorithm: str, key: str) -> Callable[[Tensors, Path], Path]:
    return lambda content, folder: _d3(folder / "a.d3", {key: content}, _config(algorithm))


def _cases() -> Iterator[Any]:
    gaussian, choices = tianshou_actor("mu", spread=True)[1], tianshou_actor("last", spread=False)[1]
    fix = {"unbounded": True, "squashed": True}
    given = {"activation": "relu", "bounds": SPACE}
    yield pytest.param(gaussian, _plain, {**given, "fix": fix}, id="tianshou-gaussian")
    yield pytest.param(choices, _plain, {"activation": "relu", "fix": {"actions": "discrete"}}, id="tianshou")
    values = files.named(files.mlp(7, 8, 10), "model.model.model")
    yield pytest.param(
        {**values, "tau_hat": torch.zeros(1, 5, 1)}, _plain, {"activation": "relu"}, id="qrdqn"
    )
    support = {**values, "support": torch.linspace(0, 1, 5)}
    yield pytest.param(support, _plain, {"activation": "relu"}, id="tianshou-c51")
    yield pytest.param(cleanrl_actor("fc_mu", 0)[1], _plain, {}, id="cleanrl-ddpg")
    network = files.named(files.mlp(7, 120, 84, 10), "network")
    yield pytest.param({**network, "atoms": torch.linspace(0, 1, 5)}, _c51, {}, id="cleanrl-c51")
    yield pytest.param(_policy()[1], _run, {}, id="sample-factory")
    memory = files.named(nn.GRU(16, 16), "core.core")
    tensors = {**_policy(4, spread=False)[1], **memory}
    yield pytest.param(tensors, _run, {"fix": {"actions": "2,2"}}, id="sample-factory-gru")
    yield pytest.param(_states(_network(), "_mu")["policy"], _policies("sac", "policy"), {}, id="d3rlpy")
    values = _states(_network(), "_fc", "q", "0.")["q"]
    yield pytest.param(values, _policies("dqn", "q_funcs"), {}, id="d3rlpy-dqn")


@pytest.mark.parametrize(("content", "write", "settings"), list(_cases()))
def test_any_tensor_may_be_another(
    tmp_path: Path, content: Tensors, write: Callable[[Tensors, Path], Path], settings: dict[str, Any]
) -> None:
    whole = write(content, tmp_path)
    found = detect.load("agent", _agent(whole, settings))
    assert found.source.format in ("tianshou", "cleanrl", "sample_factory", "d3rlpy")
    for name in content:
        for broken in BROKEN:
            changed = {key: broken if key == name else tensor for key, tensor in content.items()}
            if broken is None:
                del changed[name]
            path = write(changed, tmp_path)
            for read in (detect.describe, lambda path: detect.load("agent", _agent(path, settings))):
                assert "\n" not in _refusal(read, path)


def _refusal(read: Callable[[Path], object], path: Path) -> str:
    """What is said of a file that is refused; nothing of one that is read."""
    try:
        read(path)
    except CheckpointError as error:
        return str(error)
    return ""


def _agent(path: Path, settings: dict[str, Any]) -> AgentConfig:
    return AgentConfig.model_validate({"checkpoint": path, **settings})
