"""What `config.json` of a LeRobot policy says, as far as its network depends on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from grandopt import limits
from grandopt.compiler.checkpoints.folder import Folder
from grandopt.errors import CheckpointError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
POLICIES = (
    "act", "diffusion", "groot", "multi_task_dit", "pi0", "pi0_fast", "pi05", "sac", "smolvla", "tdmpc",
    "vqbet", "wall_x", "xvla",
)  # fmt: skip
"""The types of policies that LeRobot 0.1 to 0.4 writes."""

ACT = "act"
STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
"""What LeRobot calls the features of which an ACT takes and gives one."""

MOST = {
    "chunk_size": 1 << 14, "dim_model": 1 << 14, "n_heads": 1 << 10, "dim_feedforward": 1 << 16,
    "n_encoder_layers": 64, "n_decoder_layers": 64, "latent_dim": 1 << 14,
}  # fmt: skip
"""Whole numbers of an ACT and what each may be at most."""

Kind = Literal["STATE", "ENV", "VISUAL", "ACTION"]


@dataclass(frozen=True)
class Feature:
    """One observation or the action: its name, what it is, and its shape without a batch."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ActConfig:
    """An ACT's network: `observed` are the features that it takes, in the order in which it takes them."""

    observed: tuple[Feature, ...]
    action: Feature
    modes: Mapping[str, str]
    backbone: str
    activation: str
    pre_norm: bool
    sizes: Mapping[str, int]

    @property
    def images(self) -> tuple[Feature, ...]:
        """The cameras."""
        return tuple(feature for feature in self.observed if feature.kind == "VISUAL")


def is_config(document: Mapping[str, Any]) -> bool:
    """Whether it is a policy's: other libraries call their configuration `config.json`, too."""
    return document.get("type") in POLICIES and "output_features" in document


def read(folder: Folder) -> ActConfig:
    """The configuration of the ACT in the folder.

    Raises CheckpointError for another policy, and for what is missing or no ACT's.
    """
    document, where = folder.document(CONFIG), f"{folder.path}: {CONFIG}"
    kind = document.get("type")
    if kind != ACT:
        raise CheckpointError(
            f"{where}: is a policy of type {kind!r:.40}, of which no reader is here; only 'act' is read: "
            f"export this one as ONNX or TorchScript, and name that file"
        )
    if document.get("n_obs_steps", 1) != 1:
        raise CheckpointError(f"{where}: 'n_obs_steps' is {document['n_obs_steps']!r:.20}; an ACT takes 1")
    if document.get("replace_final_stride_with_dilation") not in (None, False, 0):
        raise CheckpointError(
            f"{where}: 'replace_final_stride_with_dilation' fits no ResNet that is read here"
        )
    features = _features(document, "input_features", where)
    outputs = [found for found in _features(document, "output_features", where) if found.name == ACTION]
    observed = tuple(
        feature
        for wanted in ("STATE", "ENV", "VISUAL")
        for feature in features
        if feature.kind == wanted and (wanted == "VISUAL" or feature.name in (STATE, ENVIRONMENT))
    )
    if not outputs or not any(feature.kind != "STATE" for feature in observed):
        raise CheckpointError(
            f"{where}: names no {ACTION!r} among its outputs, or neither an image nor {ENVIRONMENT!r} among "
            f"its inputs"
        )
    for feature in (*observed, *outputs):
        if len(feature.shape) != (3 if feature.kind == "VISUAL" else 1):
            raise CheckpointError(f"{where}: {feature.name!r:.60} is of shape {list(feature.shape)}")
    activation = document.get("feedforward_activation", "relu")
    if activation not in ("relu", "gelu"):
        raise CheckpointError(
            f"{where}: 'feedforward_activation' is {activation!r:.40}, neither 'relu' nor 'gelu'"
        )
    return ActConfig(
        observed,
        outputs[0],
        _modes(document.get("normalization_mapping"), where),
        str(document.get("vision_backbone", "resnet18")),
        activation,
        document.get("pre_norm") is True,
        _sizes(document, where),
    )


def _features(document: Mapping[str, Any], field: str, where: str) -> list[Feature]:
    """The features of a field, in its order."""
    given = document.get(field)
    if not isinstance(given, dict):
        raise CheckpointError(f"{where}: {field!r} is missing or no object")
    found = []
    for name, feature in given.items():
        kind, shape = (feature.get(part) if isinstance(feature, dict) else None for part in ("type", "shape"))
        fits = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
        if not isinstance(kind, str) or not isinstance(shape, list) or not fits:
            raise CheckpointError(f"{where}: {field!r}: {name!r:.60} has no type or no shape")
        if math.prod(shape) > limits.INPUT_ELEMENTS:
            raise CheckpointError(
                f"{where}: {name!r:.60} has {math.prod(shape):,} elements; at most {limits.INPUT_ELEMENTS:,} "
                f"are taken"
            )
        found.append(Feature(name, kind, tuple(shape)))
    return found


def _modes(given: Any, where: str) -> dict[str, str]:
    """How each kind of feature is normalised."""
    if not isinstance(given, dict) or not all(isinstance(mode, str) for mode in given.values()):
        raise CheckpointError(f"{where}: 'normalization_mapping' is missing or no object of names")
    return given


def _sizes(document: Mapping[str, Any], where: str) -> dict[str, int]:
    """The whole numbers of the network."""
    sizes = {}
    for name, most in MOST.items():
        size = document.get(name)
        if type(size) is not int or not 1 <= size <= most:
            raise CheckpointError(f"{where}: {name!r} is {size!r:.40}, no whole number from 1 to {most:,}")
        sizes[name] = size
    if sizes["dim_model"] % sizes["n_heads"] or sizes["dim_model"] % 4:
        raise CheckpointError(
            f"{where}: 'dim_model' {sizes['dim_model']} is no multiple of 4 and of 'n_heads' "
            f"{sizes['n_heads']}"
        )
    return sizes
