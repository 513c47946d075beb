"""The formats that the contract is run by: how each writes one small network, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.frameworks import flax_files
from tests.checkpoints.onnx import models

GENERAL = {
    "checkpoint",
    "reference",
    "samples",
    "trust",
    "realtime",
    "target_latency_ms",
    "target_throughput",
}
"""Settings that mean the same whatever the format."""

SETTINGS: dict[str, Any] = {
    "key": "actors.0",
    "network": "tests.contracts.formats:small",
    "network_args": {"width": 4},
    "inputs": [{"name": "state", "shape": [3]}],
    "outputs": ["scores"],
    "state": {"h": "h_next"},
    "stepwise": True,
    "fix": {"deterministic": True},
    "method": "forward",
    "vecnormalize": Path("vecnormalize.pkl"),
    "framework": "rsl_rl",
    "activation": "tanh",
    "statistics": Path("statistics.npz"),
    "bounds": {"low": -1, "high": 1},
    "distribution": "categorical",
}
"""A value for every other setting."""

RECURRENT = {"outputs", "state", "stepwise"}
"""Settings that fit every network that is not laid down to the last output by its format."""


def small(width: int = 4) -> nn.Module:
    """Numbers [B, 3] to scores [B, 2], with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).eval()


class Decides(nn.Module):
    """What the zip's policy computes: the better of two actions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        decision: torch.Tensor = self.network(state).argmax(dim=-1)
        return decision


@dataclass(frozen=True)
class Format:
    """One way to write `small` to a file.

    `found` is what `detect` calls it, `write` makes the file, and `takes` holds the settings that say
    something about it; those of them in `given` are needed. `computes` is the original as that file has it.
    """

    found: detect.Format
    write: Callable[[nn.Module, Path], object]
    takes: set[str]
    given: set[str] = field(default_factory=set)
    computes: Callable[[nn.Module], nn.Module] = lambda network: network

    def config(self, path: Path, **settings: Any) -> AgentConfig:
        needed = {name: SETTINGS[name] for name in self.given}
        return AgentConfig.model_validate({"checkpoint": path, "trust": self.trusted, **needed, **settings})

    @property
    def trusted(self) -> bool:
        """Whether only a trusted file is read."""
        return self is FORMATS["pickled"]


def _nested(network: nn.Module, path: Path) -> None:
    torch.save({"actors": [network.state_dict()], "step": 7}, path)


def _script(network: nn.Module, path: Path) -> None:
    torch.jit.trace(network, torch.zeros(2, 3), check_trace=False).save(str(path))


def _export(network: nn.Module, path: Path) -> None:
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(network, (torch.zeros(3, 3),), dynamic_shapes=shapes), path)


def _zip(network: nn.Module, path: Path) -> None:
    names = {"0": "mlp_extractor.policy_net.0", "2": "action_net"}
    tensors = {
        f"{names[key.partition('.')[0]]}.{key.partition('.')[2]}": value
        for key, value in network.state_dict().items()
    }
    zips.write_zip(path, zips.ON_POLICY, zips.box(-1, 1, (3,)), zips.discrete(2), tensors)


def _onnx(network: nn.Module, path: Path) -> None:
    models.save(models.sequential(network), path)


def _flax(network: nn.Module, path: Path) -> None:
    path.write_bytes(flax_files.packed({"params": flax_files.dense(network)}))


def _arrays(network: nn.Module, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{key: value.numpy() for key, value in network.state_dict().items()})


WEIGHTS = {"key", "network", "network_args", "inputs", *RECURRENT}
FORMATS = {
    "state_dict": Format("torch", _nested, WEIGHTS, {"key", "network", "inputs"}),
    "safetensors": Format(
        "safetensors", lambda network, path: save_file(network.state_dict(), path), WEIGHTS,
        {"network", "inputs"},
    ),
    "numpy": Format("numpy", _arrays, WEIGHTS, {"network", "inputs"}),
    "pickled": Format("torch", torch.save, {"inputs", *RECURRENT}, {"inputs"}),
    "torchscript": Format("torchscript", _script, {"inputs", "fix", "method", *RECURRENT}, {"inputs"}),
    "exported": Format("exported", _export, RECURRENT),
    "onnx": Format("onnx", _onnx, {"inputs", "outputs", "state"}),
    "flax": Format(
        "flax", _flax, {"activation", "distribution"}, {"activation", "distribution"}, computes=Decides
    ),
    "sb3": Format("sb3", _zip, {"vecnormalize"}, computes=Decides),
}  # fmt: skip
