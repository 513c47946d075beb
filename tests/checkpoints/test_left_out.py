"""Statistics beside the chosen weights are named, whatever the trainer calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.left_out import left_out
from grandopt.config.schema import AgentConfig


def make() -> nn.Module:
    return nn.Linear(3, 2)


def _statistics(mean: str, spread: str, count: str = "count") -> dict[str, torch.Tensor]:
    return {mean: torch.zeros(3), spread: torch.ones(3), count: torch.tensor(1e5)}


def _prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


RMS = _statistics("running_mean", "running_var")
NORM = _statistics("_mean", "_var")
FILES: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "policy",
        {
            "policy": make().state_dict(),
            "state_preprocessor": _statistics("running_mean", "running_variance", "current_count"),
            "value_preprocessor": {"running_mean": torch.zeros(1, dtype=torch.float64)},
        },
        ["state_preprocessor", "value_preprocessor"],
    ),
    ("model", {"model": make().state_dict(), "obs_norm_state_dict": NORM}, ["obs_norm_state_dict"]),
    ("model", {"model": make().state_dict(), "running_mean_std": RMS}, ["running_mean_std"]),
    (
        "model.actor",
        {"model": {"actor": make().state_dict(), "norm": _prefixed("obs.rms", RMS)}},
        ["model.norm.obs.rms"],
    ),
    (
        "model",
        {
            "model": make().state_dict(),
            "critic": {"bn": nn.BatchNorm1d(3).state_dict(), **make().state_dict()},
        },
        [],
    ),
    (
        "model",
        {
            "model": make().state_dict(),
            "optimizer": {"state": {0: {"mean": torch.zeros(3), "var": torch.ones(3)}}, "param_groups": []},
        },
        [],
    ),
]


def _load(path: Path, key: str) -> Checkpoint:
    return detect.load(
        "a",
        AgentConfig.model_validate(
            {
                "checkpoint": path,
                "key": key,
                "network": f"{__name__}:make",
                "inputs": [{"name": "x", "shape": [3]}],
            }
        ),
    )


@pytest.mark.parametrize(("key", "content", "places"), FILES)
def test_statistics_beside_the_key_are_named(
    tmp_path: Path, key: str, content: dict[str, Any], places: list[str]
) -> None:
    torch.save(content, tmp_path / "agent.pt")
    found = _load(tmp_path / "agent.pt", key).statistics
    assert [item.place for item in found] == places
    assert all(not item.used and "a network that normalises" in str(item.reason) for item in found)


def test_statistics_beside_the_prefix_of_safetensors_are_named(tmp_path: Path) -> None:
    tensors = {**_prefixed("actor", dict(make().state_dict())), **_prefixed("obs_normalizer", NORM)}
    save_file(tensors, tmp_path / "agent.safetensors")
    (found,) = _load(tmp_path / "agent.safetensors", "actor").statistics
    assert (found.place, found.kind) == ("obs_normalizer", "normalisation statistics, 3 features")


def test_objects_and_arrays_of_trusted_pickles_are_seen() -> None:
    class RunningMeanStd:
        def __init__(self) -> None:
            self.mean, self.var, self.count = np.zeros(4), np.ones(4), 7

    content = {
        "model": make().state_dict(),
        "obs_rms": RunningMeanStd(),
        "raw": {"mean": np.zeros(2), "std": np.ones(2)},
    }
    assert [item.place for item in left_out(content, "model")] == ["obs_rms", "raw"]


def test_a_nest_without_end_is_left_alone() -> None:
    nest: list[Any] = []
    nest.append(nest)
    assert left_out({"model": {}, "nest": nest}, "model") == ()
