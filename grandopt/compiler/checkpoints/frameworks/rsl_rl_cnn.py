"""RSL-RL's encoders of images: convolutions from their weights and from the settings of the run.

A file holds kernels and channels. Strides, padding, norms and pools are in the settings alone (`cnn_cfg`,
before version 4 `actor_cnn_cfg`), and how large the images are is nowhere but in the environment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.frameworks import layers
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings
from grandopt.compiler.checkpoints.settings import configured_inputs
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import TensorSpec

SETTINGS = (("actor", "cnn_cfg"), ("policy", "actor_cnn_cfg"))
"""Where the settings of a run have it, from version 4 on and before."""

ASKED = "the run's params/agent.yaml beside the file, for strides, padding and pools"
DEFAULTS = {
    **{"stride": 1, "dilation": 1, "padding": "none", "norm": "none", "activation": "elu"},
    **{"max_pool": False, "global_pool": "none", "flatten": True},
}
"""Of RSL-RL's `CNN`, where the settings say nothing."""

PADDED = ("zeros", "reflect", "replicate", "circular")
NORMS = ("none", "batch", "layer")


class SeeingActor(nn.Module):
    """An actor that sees: what images are encoded to joins the normalised observation, if there is one."""

    def __init__(self, normalise: nn.Module, encoders: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.encoders = nn.ModuleList(encoders)
        self.head = head

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Observation [B, n], if there is one, and one image [B, C, H, W] for each encoder to the action."""
        seen = inputs[-len(self.encoders) :]
        parts = [self.normalise(part) for part in inputs[: -len(self.encoders)]]
        parts += [encoder(image) for encoder, image in zip(self.encoders, seen, strict=True)]
        return self.head(torch.cat(parts, dim=1))


@dataclass(frozen=True)
class Encoders:
    """The encoders in the order that they are joined in, the images they take, and how much they give."""

    modules: Sequence[nn.Module]
    inputs: tuple[TensorSpec, ...]
    features: int


def has_settings(settings: RunSettings) -> bool:
    """Whether the settings of the run describe the convolutions."""
    return any(isinstance(settings.at(*place), Mapping) for place in SETTINGS)


def encoders(
    agent: AgentConfig, path: Path, tensors: layers.Tensors, prefix: str, settings: RunSettings
) -> Encoders:
    """The encoders whose weights begin with `prefix`, for the images that `agent.inputs` declares.

    Raises CheckpointError where the settings of the run are not there or do not fit the weights, and where
    the images are not declared, each by the name of its group.
    """
    groups = list(dict.fromkeys(name.partition(".")[0] for name in layers.below(tensors, prefix)))
    said = next((found for place in SETTINGS if isinstance(found := settings.at(*place), Mapping)), None)
    if said is None:
        raise CheckpointError(
            f"{path}: the strides of its convolutions are not in the file{settings.unread()}; put the run's "
            f"params/agent.yaml beside it"
        )
    specs = {spec.name: spec for spec in configured_inputs(agent, path, groups)}
    odd = next((name for name in groups if name not in specs or len(specs[name].shape) != 3), None)
    if odd is not None:
        raise CheckpointError(
            f"{path}: 'inputs' must declare the images {odd!r} as [channels, height, width]"
        )
    one = not all(isinstance(value, Mapping) for value in said.values())
    made, features = [], 0
    for group in groups:
        own = said if one else said.get(group)
        if not isinstance(own, Mapping):
            raise CheckpointError(f"{path}: its settings say nothing of the convolutions of {group!r}")
        where = f"{path}: the convolutions of {group!r}"
        held = layers.below(tensors, f"{prefix}.{group}")
        module, count = _encoder({**DEFAULTS, **own}, held, specs[group].shape, where)
        try:
            module.load_state_dict(held)
        except RuntimeError as error:
            raise CheckpointError(f"{where} are others than its settings say") from error
        made.append(module)
        features += count
    return Encoders(made, tuple(specs[group] for group in groups), features)


def _encoder(
    said: Mapping[str, Any], held: layers.Tensors, shape: tuple[int, ...], where: str
) -> tuple[nn.Sequential, int]:
    """The layers of the kernels in `held`, as the settings describe them for images of `shape`, and how many
    numbers they give."""
    names = [
        name for name, kernel in held.items() if re.fullmatch(r"\d+\.weight", name) and kernel.dim() == 4
    ]
    kernels = [held[name] for name in sorted(names, key=lambda name: int(name.partition(".")[0]))]
    activation, mode = str(said["activation"]).lower(), said["padding"]
    known = activation in ACTIVATIONS and mode in ("none", *PADDED) and said["flatten"] is True
    if not kernels or not known or said["global_pool"] not in ("none", "max", "avg"):
        raise CheckpointError(f"{where}: its settings are none that RSL-RL takes")
    size = list(shape[1:])
    found: list[nn.Module] = []
    for index, weight in enumerate(kernels):
        wide, channels, kernel, breadth = weight.shape
        if kernel != breadth or 0 in weight.shape:
            raise CheckpointError(
                f"{where}: its kernels are of {kernel} by {breadth}, and RSL-RL has squares"
            )
        stride, dilation = (_whole(said, name, index, where) for name in ("stride", "dilation"))
        high, broad = (_padding(side, kernel, stride, dilation) if mode != "none" else 0 for side in size)
        filled: Any = "zeros" if mode == "none" else mode
        found.append(nn.Conv2d(channels, wide, kernel, stride, (high, broad), dilation, padding_mode=filled))
        size = [
            (side + 2 * edge - dilation * (kernel - 1) - 1) // stride + 1
            for side, edge in zip(size, (high, broad), strict=True)
        ]
        norm = _of(said["norm"], index)
        if min(high, broad) < 0 or min(size) < 1 or norm not in NORMS:
            raise CheckpointError(f"{where}: its settings do not fit images of {list(shape)}")
        found += [nn.BatchNorm2d(wide)] if norm == "batch" else []
        found += [nn.LayerNorm([wide, *size])] if norm == "layer" else []
        found.append(ACTIVATIONS[activation]())
        if _of(said["max_pool"], index):
            found.append(nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
            size = [math.ceil(side / 2) for side in size]
    if said["global_pool"] != "none":
        found.append(nn.AdaptiveMaxPool2d(1) if said["global_pool"] == "max" else nn.AdaptiveAvgPool2d(1))
        size = [1, 1]
    return nn.Sequential(*found, nn.Flatten()), wide * math.prod(size)


def _padding(side: int, kernel: int, stride: int, dilation: int) -> int:
    """What RSL-RL pads each edge with, so that the image keeps its size but for the stride."""
    return math.ceil((stride * (side // stride) - side - stride + dilation * (kernel - 1) + 1) / 2)


def _of(value: Any, index: int) -> Any:
    """A setting of one layer: its own in a list of them, or the one of all."""
    return value[index] if isinstance(value, list) and index < len(value) else value


def _whole(said: Mapping[str, Any], name: str, index: int, where: str) -> int:
    value = _of(said.get(name), index)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1000:
        raise CheckpointError(f"{where}: its settings have {name} {value!r:.40}, which is no size")
    return value
