"""LeRobot's policies (`pretrained_model/`): of them ACT, from raw observations to a chunk of actions.

What comes out computes `postprocessor(policy.predict_action_chunk(preprocessor(observations)))`: all actions
of the chunk. Which is done when, by a queue of `n_action_steps` or a temporal ensemble, is the host's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks import folders
from grandopt.compiler.checkpoints.frameworks.base import Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.lerobot import config, network, resnet, statistics
from grandopt.compiler.checkpoints.frameworks.lerobot.config import ActConfig, Feature
from grandopt.compiler.checkpoints.frameworks.lerobot.statistics import Statistics
from grandopt.compiler.checkpoints.weight_files import safetensors_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "lerobot"
TITLE = "LeRobot"
TAKES: frozenset[str] = frozenset()

PREFIX = "model."
HOST = "queue and temporal ensemble are the host's: each call gives the whole chunk"


class ActAgent(nn.Module):
    """An ACT between what normalises its observations and what takes its actions back."""

    def __init__(self, normalise: list[nn.Module], act: network.Act, unnormalise: nn.Module) -> None:
        super().__init__()
        self.normalise = nn.ModuleList(normalise)
        self.act = act
        self.unnormalise = unnormalise

    def forward(self, *observed: torch.Tensor) -> torch.Tensor:
        """Raw observations to actions [B, chunk, A] in the robot's units."""
        seen = [step(value) for step, value in zip(self.normalise, observed, strict=True)]
        return self.unnormalise(self.act(*seen))


def recognises(content: Any) -> bool:
    """Whether it is a folder with the configuration of one of LeRobot's policies, whichever."""
    return isinstance(content, Folder) and folders.is_lerobot(content)


def describe(path: Path, content: Any) -> dict[str, Any]:
    """Inputs, chunk, how each is normalised, and the tensors; see `Framework`."""
    settings = config.read(content)
    tensors = _tensors(content)
    found = statistics.read(content, settings, tensors)
    behind = found.behind.mode(settings.action)
    return {
        "recognised": f"a policy of type {config.ACT!r} as {TITLE} saves it",
        "inputs": {_name(found, item): _said(found, item) for item in settings.observed},
        "action": f"{[settings.sizes['chunk_size'], *settings.action.shape]}, {behind}",
        "host": HOST,
        "asks": [],
        **weights.listed(tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The whole chunk of actions [B, chunk, A] in the robot's units, from raw observations on.

    Images are float32 [C, H, W] within 0 … 1, as LeRobot hands them over. Raises CheckpointError for other
    policies than ACT, for what is missing in the folder, and for weights that do not fit the configuration.
    """
    settings = config.read(content)
    where = str(path)
    if settings.images and settings.backbone not in resnet.BLOCKS:
        raise CheckpointError(
            f"{where}: 'vision_backbone' is {settings.backbone!r:.40}; of the ResNets "
            f"{', '.join(resnet.BLOCKS)} are read"
        )
    tensors = _tensors(content)
    found = statistics.read(content, settings, tensors)
    act = _filled(settings, tensors, f"{where}: {config.WEIGHTS}")
    module = ActAgent(
        [found.normalise(item) for item in settings.observed], act, found.unnormalise(settings.action)
    )
    inputs = tuple(_spec(found, item) for item in settings.observed)
    moments = {_name(found, item): found.moments(item) for item in settings.observed}
    details = {
        "policy": config.ACT,
        "chunk": settings.sizes["chunk_size"],
        "normalisation": {item.name: found.before.mode(item) for item in settings.observed},
        "host": HOST,
    }
    policy = Policy(
        module,
        inputs,
        Contract("continuous", normalised=_normalises(found, settings)),
        details,
        moments={label: item for label, item in moments.items() if item is not None},
        statistics=_statistics(found, settings),
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


def _tensors(folder: Folder) -> dict[str, torch.Tensor]:
    """The weights in the folder; raises CheckpointError where there are none."""
    return safetensors_file.from_bytes(folder.content(config.WEIGHTS), str(folder.path / config.WEIGHTS))


def _filled(settings: ActConfig, tensors: Mapping[str, torch.Tensor], where: str) -> network.Act:
    """The network with its weights; the shapes are compared before any of them takes memory."""
    with torch.device("meta"):
        act = network.Act(settings)
    own = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(PREFIX) and not name.removeprefix(PREFIX).startswith(network.UNUSED)
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in act.state_dict().items()}
    counts = {name: torch.tensor(0) for name in shapes if name.endswith(resnet.COUNT)}
    wanted = {name: shape for name, shape in shapes.items() if name not in counts}
    given = {name: tuple(tensor.shape) for name, tensor in own.items()}
    strange = [name for name in tensors if not name.startswith(PREFIX) and not statistics.is_old(name)]
    odd = [name for name in {**wanted, **given} if wanted.get(name) != given.get(name)]
    if strange or odd:
        name = (strange or odd)[0]
        raise CheckpointError(
            f"{where}: {name!r:.80} has the shape {given.get(name)}, and the configuration wants "
            f"{wanted.get(name)} ({len(strange or odd)} in all do not fit)"
        )
    act.load_state_dict({name: tensor.float() for name, tensor in own.items()} | counts, assign=True)
    act.place_images(settings)
    return act


def _name(found: Statistics, feature: Feature) -> str:
    """What the host calls the feature."""
    return found.names.get(feature.name, feature.name)


def _said(found: Statistics, feature: Feature) -> str:
    return f"{list(feature.shape)}, {found.before.mode(feature)}"


def _spec(found: Statistics, feature: Feature) -> TensorSpec:
    """The input of a feature, with its range where that is known."""
    name = _name(found, feature)
    if feature.kind == "VISUAL":
        return TensorSpec(name, feature.shape, low=0.0, high=1.0)
    if found.before.mode(feature) not in statistics.RANGES:
        return TensorSpec(name, feature.shape)
    low, span = found.before.ends(feature, back=True)
    return TensorSpec(name, feature.shape, low=tuple(low.tolist()), high=tuple((low + span).tolist()))


def _normalises(found: Statistics, settings: ActConfig) -> bool:
    return any(found.before.mode(item) != statistics.IDENTITY for item in settings.observed)


def _statistics(found: Statistics, settings: ActConfig) -> tuple[FoundStatistics, ...]:
    """What is folded in, one entry for each feature."""
    sides = [(found.before, item) for item in settings.observed] + [(found.behind, settings.action)]
    return tuple(
        FoundStatistics(f"{side.place}: {item.name}", side.mode(item), used=True)
        for side, item in sides
        if side.mode(item) != statistics.IDENTITY
    )
