"""How LeRobot normalises what a policy sees, and takes back what it does: processors, or buffers of old.

Since 0.4 the steps before and behind the network stand in files of their own, each with the tensors that it
needs. Before, the statistics were buffers of the model, `normalize_inputs.buffer_observation_state.mean`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks import normaliser
from grandopt.compiler.checkpoints.frameworks.lerobot.config import WEIGHTS, ActConfig, Feature
from grandopt.compiler.checkpoints.weight_files import safetensors_file
from grandopt.errors import CheckpointError
from grandopt.signature import Moments

BEFORE, BEHIND = "policy_preprocessor.json", "policy_postprocessor.json"
NORMALISER, UNNORMALISER = "normalizer_processor", "unnormalizer_processor"
RENAMING, DEVICE = "rename_observations_processor", "device_processor"
KNOWN = frozenset({RENAMING, DEVICE, "to_batch_processor", NORMALISER, UNNORMALISER})
"""Steps of a processor that are read: the others do more to a value than normalise it."""

OLD = ("normalize_inputs", "unnormalize_outputs")
OLD_EPSILON = 1e-8
IDENTITY, MEAN_STD = "IDENTITY", "MEAN_STD"
RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
"""What is brought to -1 and to 1 in each of the modes that know two ends."""

Tensors = Mapping[str, torch.Tensor]


class Ranged(nn.Module):
    """`2 * (value - low) / span - 1`: what lies between two ends brought to within -1 … 1."""

    low: torch.Tensor
    span: torch.Tensor

    def __init__(self, low: torch.Tensor, span: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("span", span)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, *shape] raw to [B, *shape] normalised."""
        return 2 * (value - self.low) / self.span - 1


class Scaled(nn.Module):
    """`(value + shift) * scale + middle`: an action brought back to the robot's units."""

    scale: torch.Tensor
    middle: torch.Tensor

    def __init__(self, shift: float, scale: torch.Tensor, middle: torch.Tensor) -> None:
        super().__init__()
        self.shift = shift
        self.register_buffer("scale", scale)
        self.register_buffer("middle", middle)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, chunk, A] of the network to [B, chunk, A] for the robot."""
        return (value + self.shift if self.shift else value) * self.scale + self.middle


@dataclass(frozen=True)
class Side:
    """One side of the network: how each kind of feature is normalised, with which statistics by feature.

    `only` names the features that are normalised at all, None for every one. The epsilon keeps the span of a
    range from 0: it is added always where `adds` is set, as buffers had it, else it stands in place of a 0.
    """

    place: str
    modes: Mapping[str, str]
    tensors: Tensors
    epsilon: float
    only: frozenset[str] | None
    adds: bool

    def mode(self, feature: Feature) -> str:
        """How the feature is normalised."""
        left_out = self.only is not None and feature.name not in self.only
        return IDENTITY if left_out else self.modes.get(feature.kind, IDENTITY)

    def statistic(self, feature: Feature, name: str) -> torch.Tensor:
        """One statistic of the feature, in float32, of a shape that fits it."""
        found = self.tensors.get(f"{feature.name}.{name}")
        if found is None:
            raise CheckpointError(
                f"{self.place}: lacks the statistic {name!r} of {feature.name!r:.60}, which is normalised by "
                f"{self.mode(feature)}; save the policy with its data set's statistics"
            )
        fits = tuple(found.shape) == feature.shape or (
            feature.kind == "VISUAL" and tuple(found.shape) == (feature.shape[0], 1, 1)
        )
        if not fits or not found.is_floating_point() or not bool(torch.isfinite(found).all()):
            raise CheckpointError(
                f"{self.place}: the statistic {name!r} of {feature.name!r:.60} has the shape "
                f"{list(found.shape)}, or holds NaN or inf"
            )
        return found.float()

    def ends(self, feature: Feature, *, back: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The lower end of the feature's range and how far the upper is away."""
        low, high = (self.statistic(feature, name) for name in RANGES[self.mode(feature)])
        span = high - low
        if self.adds:
            return low, span if back else span + self.epsilon
        return low, torch.where(span == 0, torch.full_like(span, self.epsilon), span)


@dataclass(frozen=True)
class Statistics:
    """Both sides of the network. `names` says what the host calls a feature, where that is something else."""

    before: Side
    behind: Side
    names: Mapping[str, str]

    def normalise(self, feature: Feature) -> nn.Module:
        """What brings a raw observation to what the network was trained on."""
        match self.before.mode(feature):
            case "IDENTITY":
                return nn.Identity()
            case "MEAN_STD":
                mean, std = (self.before.statistic(feature, name) for name in ("mean", "std"))
                place = f"{self.before.place}: {feature.name}"
                return normaliser.beside_deviation(mean, std, self.before.epsilon, place)
        return Ranged(*self.before.ends(feature, back=False))

    def unnormalise(self, action: Feature) -> nn.Module:
        """What brings the network's action back to the robot's units."""
        match self.behind.mode(action):
            case "IDENTITY":
                return nn.Identity()
            case "MEAN_STD":
                mean, std = (self.behind.statistic(action, name) for name in ("mean", "std"))
                return Scaled(0.0, std, mean)
        low, span = self.behind.ends(action, back=True)
        return Scaled(1.0, span / 2, low)

    def moments(self, feature: Feature) -> Moments | None:
        """The mean and deviation of a vector that is normalised by them."""
        found = self.normalise(feature)
        if feature.kind == "VISUAL" or not isinstance(found, normaliser.Normaliser):
            return None
        return found.moments()


def read(folder: Folder, config: ActConfig, weights: Tensors) -> Statistics:
    """The statistics of the policy in the folder, from its processors, else from buffers among its weights.

    Raises CheckpointError where there are neither, and for processors that do more than normalise.
    """
    if BEFORE in folder or BEHIND in folder:
        before, names = _processed(folder, BEFORE, NORMALISER)
        behind, _ = _processed(folder, BEHIND, UNNORMALISER)
        found = Statistics(before, behind, names)
    else:
        buffers = {name: _buffers(folder, weights, name, config) for name in OLD}
        found = Statistics(buffers["normalize_inputs"], buffers["unnormalize_outputs"], {})
    for side in (found.before, found.behind):
        for mode in side.modes.values():
            if mode not in (IDENTITY, MEAN_STD, *RANGES):
                raise CheckpointError(f"{side.place}: normalises by {mode!r:.40}, which is not known here")
    return found


def is_old(name: str) -> bool:
    """Whether a weight of that name is a buffer of statistics."""
    return name.startswith((*OLD, "normalize_targets"))


def _buffers(folder: Folder, weights: Tensors, part: str, config: ActConfig) -> Side:
    """One side as its buffers among the weights say it."""
    tensors: dict[str, torch.Tensor] = {}
    for feature in (*config.observed, config.action):
        prefix = f"{part}.buffer_{feature.name.replace('.', '_')}."
        for name, tensor in weights.items():
            if name.startswith(prefix):
                tensors[f"{feature.name}.{name.removeprefix(prefix)}"] = tensor
    return Side(f"{folder.path}: {WEIGHTS}: {part}", config.modes, tensors, OLD_EPSILON, None, adds=True)


def _processed(folder: Folder, name: str, wanted: str) -> tuple[Side, dict[str, str]]:
    """One side as its processor says it, and the host's names of the features that it renames."""
    place = f"{folder.path}: {name}"
    steps = folder.document(name).get("steps")
    side: Side | None = None
    renamed: dict[str, str] = {}
    for step in steps if isinstance(steps, list) else ():
        kind = step.get("registry_name", step.get("class")) if isinstance(step, dict) else step
        if not isinstance(kind, str) or kind not in KNOWN:
            raise CheckpointError(
                f"{place}: has the step {kind!r:.60}, which does more than normalise; export the policy as "
                f"ONNX or TorchScript, and name that file"
            )
        settings = step.get("config", {})
        if not isinstance(settings, dict):
            raise CheckpointError(f"{place}: the step {kind!r} has settings that are no object")
        if kind == DEVICE and settings.get("float_dtype") not in (None, "float32"):
            raise CheckpointError(
                f"{place}: computes in {settings['float_dtype']!r:.40}; only float32 is read"
            )
        if kind == RENAMING:
            renamed |= _renamed(settings.get("rename_map", {}), place)
        if kind == wanted and side is None:
            side = _side(folder, place, step, settings)
        elif kind in (NORMALISER, UNNORMALISER):
            raise CheckpointError(f"{place}: has the step {kind!r} where it does not belong, or twice")
    if side is None:
        raise CheckpointError(f"{place}: has no step {wanted!r}, so the statistics are not known")
    return side, renamed


def _renamed(given: Any, place: str) -> dict[str, str]:
    """The host's name of each feature that is renamed."""
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise CheckpointError(f"{place}: 'rename_map' is no object of names")
    return {inner: outer for outer, inner in given.items()}


def _side(folder: Folder, place: str, step: Mapping[str, Any], settings: Mapping[str, Any]) -> Side:
    """The step that normalises, with its tensors."""
    modes, epsilon = settings.get("norm_map"), settings.get("eps", OLD_EPSILON)
    only = settings.get("normalize_observation_keys")
    if not isinstance(modes, dict) or not all(isinstance(mode, str) for mode in modes.values()):
        raise CheckpointError(f"{place}: 'norm_map' is missing or no object of names")
    if not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        raise CheckpointError(f"{place}: 'eps' is {epsilon!r:.40}, no number from 0 to 1")
    if only is not None and not (isinstance(only, list) and all(isinstance(name, str) for name in only)):
        raise CheckpointError(f"{place}: 'normalize_observation_keys' is no list of names")
    file = step.get("state_file")
    tensors: Tensors = {}
    if isinstance(file, str):
        tensors = safetensors_file.from_bytes(folder.content(file), str(folder.path / file))
    return Side(place, modes, tensors, epsilon, None if only is None else frozenset(only), adds=False)
