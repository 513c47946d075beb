"""Agents that Brax and MuJoCo Playground write: one folder for each step, named 000000123456.

Orbax puts three trees into it: [0] the statistics of the observations, [1] the policy, [2] the critic. The
network's sizes, its activation and its distribution stand in a file beside them. What comes out is the mode
of that distribution, as `make_policy(params, deterministic=True)` gives it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks import folders, normaliser
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.brax.found import STATISTICS, Found, read
from grandopt.compiler.checkpoints.frameworks.flax import layers
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, Moments, TensorSpec

NAME = "brax"
TITLE = "Brax"
TAKES = frozenset({"activation"})

ASK = "--activation NAME: what stands between the layers"

SPREADS = ("std_param.", "std_logparam.", "Dense_1.")
"""Parts of a policy that give the spread of its actions, which the mode does not need."""


class SoftClip(nn.Module):
    """A value held within ±`scale`: `scale * value / (1 + |value|)`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """[B, k] to the same shape."""
        return self.scale * nn.functional.softsign(value)


def recognises(content: Any) -> bool:
    """Whether it is a folder with the configuration of a network of Brax."""
    return isinstance(content, Folder) and folders.brax_config(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """Algorithm, sizes, normaliser and the policy's tensors; see `Framework`."""
    found = read(path, content)
    said = found.settings.get("activation")
    return {
        "recognised": f"a policy of {found.algorithm.title} as {TITLE} saves it",
        "network": _spelled(found),
        "normaliser": "(x - mean) / std" if found.normalises else None,
        "asks": [] if said is None or isinstance(said, str) else [ASK],
        **weights.listed(found.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The mode of the policy's distribution [B, actions], from raw observations on.

    Of a dict of observations it takes the part that the policy was trained on. Raises CheckpointError for a
    folder that is damaged or holds another network than Brax's own, and where statistics are missing.
    """
    found = read(path, content)
    said, between = _activation(found, agent)
    body, sizes = _body(found, between)
    observed = sizes[0]
    contract = Contract("continuous", normalised=found.normalises, squashed=found.squashed)
    actions = sizes[-1]
    steps = [*body]
    clip = found.settings.get("mean_clip_scale")
    if clip is not None and not found.squashed:
        if not isinstance(clip, int | float) or not 0 < clip < float("inf"):
            raise CheckpointError(f"{found.where}: 'mean_clip_scale' is {clip!r:.40}, no positive number")
        steps.append(SoftClip(float(clip)))
    if found.squashed:
        steps.append(nn.Tanh())
        contract = Contract(
            "continuous", low=(-1.0,) * actions, high=(1.0,) * actions, normalised=found.normalises,
            squashed=True,
        )  # fmt: skip
    label = found.observation or OBSERVATION
    normalise, moments, statistics = _normalised(found, observed, label)
    details = {"algorithm": found.algorithm.title, "network": _spelled(found), "activation": said}
    policy = Policy(
        nn.Sequential(*normalise, *steps), (TensorSpec(label, (observed,)),), contract, details,
        moments=moments, statistics=statistics,
    )  # fmt: skip
    return checkpoint(name, (NAME, TITLE), path, policy)


def _activation(found: Found, agent: AgentConfig) -> tuple[str, layers.Activation]:
    """What stands between the layers: as given, else as the configuration says, else Brax's default."""
    said = found.settings.get("activation", found.algorithm.activation)
    if agent.activation is not None:
        said = agent.activation
    if not isinstance(said, str):
        raise CheckpointError(
            f"{found.where}: the configuration does not name the activation; give it with --activation NAME"
        )
    return said, layers.activation(said, found.where)


def _body(found: Found, between: layers.Activation) -> tuple[list[nn.Module], list[int]]:
    """The layers from observations to the mean of the actions, and the sizes of what they take and give.

    Raises CheckpointError where there are others, or they are not of the sizes of the configuration.
    """
    count = found.hidden
    known = [f"{found.stem}{kind}_{index}." for index in range(count) for kind in ("hidden", "LayerNorm")]
    if not found.squashed:
        known += ["Dense_0.", *SPREADS]
    for name in found.tensors:
        if not name.startswith(tuple(known)):
            raise CheckpointError(
                f"{found.where}: the policy holds {name!r:.80}, which is part of no plain network of Brax; "
                f"export the policy as ONNX, and name that file"
            )
    linear = _linear(found)
    _require_sizes(found, linear)
    actions = found.config.get("action_size")
    given = linear[-1].out_features
    if actions != given // (2 if found.squashed else 1) or (found.squashed and given % 2):
        raise CheckpointError(
            f"{found.where}: the policy gives {given} numbers, and 'action_size' is {actions!r:.20}"
        )
    linear[-1] = layers.first_outputs(linear[-1], actions)  # those behind them are the spread
    body: list[nn.Module] = []
    for index, layer in enumerate(linear[:-1]):
        body += [layer, between()]
        if f"{found.stem}LayerNorm_{index}.scale" in found.tensors:
            body.append(layers.norm(found.tensors, f"{found.stem}LayerNorm_{index}", found.where))
    return [*body, linear[-1]], [linear[0].in_features, *(layer.out_features for layer in linear)]


def _require_sizes(found: Found, linear: list[nn.Linear]) -> None:
    """Refuse layers that are not those of the configuration."""
    wanted = found.settings.get(found.algorithm.sizes)
    made = [layer.out_features for layer in linear[:-1]]
    if wanted is not None and wanted != made:
        raise CheckpointError(
            f"{found.where}: the hidden layers of the policy have {made} units, and "
            f"{found.algorithm.sizes!r} says {wanted!r:.80}"
        )
    size = found.config.get("observation_size")
    if found.observation is not None and isinstance(size, dict):
        size = size.get(found.observation)
    if size not in (linear[0].in_features, [linear[0].in_features]):
        part = "" if found.observation is None else f" of {found.observation!r:.40}"
        raise CheckpointError(
            f"{found.where}: the policy takes {linear[0].in_features} numbers, and 'observation_size'{part} "
            f"is {size!r:.60}"
        )


def _normalised(
    found: Found, observed: int, label: str
) -> tuple[list[nn.Module], dict[str, Moments], tuple[FoundStatistics, ...]]:
    """The normaliser, the statistics that it has, and what is said of them.

    Raises CheckpointError where the configuration wants one that the folder does not hold.
    """
    part = "" if found.observation is None else f".{found.observation}"
    place = f"{STATISTICS}.mean{part}"
    if not found.normalises:
        if place not in found.arrays.names:
            return [], {}, ()
        reason = "'normalize_observations' is false in the configuration, so the agent was trained without"
        return [], {}, (FoundStatistics(place, f"{TITLE} normaliser", used=False, reason=reason),)
    mean, std = (
        layers.tensor(found.arrays.array(name), name, found.where)
        for name in (place, f"{STATISTICS}.std{part}")
    )
    if mean.shape != (observed,):
        raise CheckpointError(
            f"{found.where}: the statistics are of {list(mean.shape)} numbers, the policy takes {observed}"
        )
    made = normaliser.beside_deviation(mean, std, 0.0, found.where)
    return [made], {label: made.moments()}, (FoundStatistics(place, f"{TITLE} normaliser", used=True),)


def _linear(found: Found) -> list[nn.Linear]:
    """The dense layers on the way to the mean of the actions, in order."""
    names = [f"{found.stem}hidden_{index}" for index in range(found.hidden)]
    return [
        layers.linear(found.tensors, name, found.where)
        for name in (names if found.squashed else [*names, "Dense_0"])
    ]


def _spelled(found: Found) -> str:
    """The dense layers of the policy, in words."""
    return ", ".join(f"Linear({layer.in_features}, {layer.out_features})" for layer in _linear(found))
