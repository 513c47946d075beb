"""skrl's checkpoints (`agent_*.pt`, `best_agent.pt`), versions 1 and 2: the policy as trainers evaluate it.

A file holds a state dict for each part of an agent. What skrl's model instantiators make has one stack of
layers, `net_container` (or another word before `_container`), the last layer in it or, where policy and value
share it, as `policy_layer`, and for a Gaussian `log_std_parameter`. Observations are scaled by
`observation_preprocessor`, which is `state_preprocessor` in version 1. Evaluation takes `mean_actions`.
Policies of the user's own have any names, and are left to be read as state dicts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.frameworks import asked, heads, layers, normaliser
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings, beside
from grandopt.compiler.checkpoints.sb3.actions import Clip
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "skrl"
TITLE = "skrl"
TAKES = frozenset({"activation", "bounds"})

MODEL = ("models", "policy")
OUTPUT = (*MODEL, "output")
"""Where the settings of a run have them."""

CLIPS_MEANS, CLIPS_ACTIONS = "clip_mean_actions", "clip_actions"
"""What clips the action of a Gaussian policy in evaluation, and that of a deterministic one."""

SHARED = "policy_layer"
SPREAD = "log_std_parameter"
OTHERS = {SPREAD, SHARED, "value_layer"}
CONTAINER = "_container"

EPSILON, CLIP = 1e-8, 5.0
"""Of `RunningStandardScaler`: added to the deviation, and what the result is held within."""

PREPROCESSORS = ("observation_preprocessor", "state_preprocessor")
"""The first that there is: in version 2 the states beside it are the critic's."""

EXPRESSION = re.compile(r"\s*(?:(?P<activation>\w+)\s*\(\s*ACTIONS\s*\)|ACTIONS)\s*")
"""Outputs that are one layer, with an activation behind it or not; any other is computed of it."""


@dataclass(frozen=True)
class _Actor:
    """The policy in a file: its tensors, the name of its stack, its statistics and their place."""

    tensors: Tensors
    stack: str
    statistics: Tensors
    place: str

    def layers(self, between: type[nn.Module], where: str) -> list[nn.Module]:
        """Its linear layers with `between` between them, the last without."""
        if f"{SHARED}.weight" not in self.tensors:
            return layers.stack(self.tensors, self.stack, between, where)
        stack = layers.stack(self.tensors, self.stack, between, where, last_active=True)
        return [*stack, layers.linear(self.tensors, SHARED, where)]


def recognises(content: Any) -> bool:
    """Whether it is what an agent of skrl saves, with a policy that skrl's model instantiators made."""
    return _actor(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The policy's layers, its normaliser, and what has to be given (see `Framework`)."""
    actor, settings, where = _found(content, path), beside(path), str(path)
    stack = actor.layers(nn.Identity, where)
    scaled = f"(x - mean) / (sqrt(var) + {EPSILON}) within ±{CLIP} of {actor.place}"
    return {
        "recognised": f"the policy of an agent as {TITLE}'s model instantiators make it",
        "layers": [str(layer) for layer in stack if isinstance(layer, nn.Linear)],
        "normaliser": scaled if actor.statistics else None,
        "asks": [] if _activation(actor, settings) else [asked.ACTIVATIONS_ASKED],
        **settings.details(),
        **weights.listed(actor.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The mean action, from raw observations on, clipped where `bounds` says between what.

    Raises CheckpointError where nobody says the activations, or the settings of the run say that means are
    clipped and nobody says between what; and for weights that do not fit.
    """
    actor, settings, where = _found(content, path), beside(path), str(path)
    said, between, behind = asked.activations(
        agent, path, settings, _activation(actor, settings), _last_activation(agent, settings, path)
    )
    stack = actor.layers(between, where)
    normalise = _normaliser(actor, where)
    clips = CLIPS_MEANS if SPREAD in actor.tensors else CLIPS_ACTIONS
    clip, contract = _clip(agent, settings, clips, layers.outputs(stack), path)
    squash = [] if behind is None else [behind]
    if normalise:
        contract = replace(contract, normalised=True, clip_obs=CLIP)
    found = FoundStatistics(actor.place, "RunningStandardScaler", used=True)
    policy = Policy(
        nn.Sequential(*normalise, *stack, *squash, *clip),
        (TensorSpec(OBSERVATION, (layers.inputs(stack),)),),
        contract,
        {"activation": said, **settings.details()},
        moments={OBSERVATION: normalise[0].moments()} if normalise else {},
        statistics=(found,) if normalise else (),
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


def _found(content: Any, path: Path) -> _Actor:
    actor = _actor(content)
    if actor is None:
        raise CheckpointError(f"{path}: holds no policy as {TITLE}'s model instantiators make it")
    return actor


def _actor(content: Any) -> _Actor | None:
    """The policy in what an agent of skrl saved; None for anything else.

    Without a spread it is a deterministic one (DDPG, TD3) if there is a target beside it, and else a
    categorical one, from which skrl only samples.
    """
    tensors = layers.tensors_of(content, "policy")
    stems = layers.stems(tensors)
    stacks = [stem for stem in stems if stem.endswith(CONTAINER)]
    fits = len(stacks) == 1 and stems <= {*OTHERS, *stacks}
    if not fits or not (SPREAD in tensors or "target_policy" in content):
        return None
    if not layers.has_stack(tensors, stacks[0]):
        return None
    held = [(name, layers.tensors_of(content, name)) for name in PREPROCESSORS]
    place, statistics = next(((name, found) for name, found in held if found), ("", {}))
    return _Actor(tensors, stacks[0], statistics, place)


def _normaliser(actor: _Actor, where: str) -> list[normaliser.Normaliser]:
    """What stands before the network: `(x - mean) / (sqrt(var) + 1e-8)` within ±5, or nothing."""
    if not actor.statistics:
        return []
    mean, var = actor.statistics.get("running_mean"), actor.statistics.get("running_variance")
    if mean is None or var is None or mean.dim() != 1:
        raise CheckpointError(f"{where}: {actor.place} holds no running_mean and running_variance [n]")
    return [normaliser.outside_root(mean, var, EPSILON, f"{where}: {actor.place}", CLIP)]


def _activation(actor: _Actor, settings: RunSettings) -> str | None:
    """What the settings of the run have between the layers of the policy's stack; None for nothing."""
    networks = settings.at(*MODEL, "network")
    for network in networks if isinstance(networks, list) else []:
        if isinstance(network, Mapping) and f"{network.get('name')}{CONTAINER}" == actor.stack:
            said = network.get("activations")
            each = said if isinstance(said, list) else [said]
            return ", ".join(sorted({str(item) for item in each})) if each and all(each) else None
    return None


def _last_activation(agent: AgentConfig, settings: RunSettings, path: Path) -> str | None:
    """What they have behind the last layer; raises CheckpointError for an output that is computed of it."""
    said = settings.text(*OUTPUT)
    if said is None or agent.activation is not None:
        return None
    found = EXPRESSION.fullmatch(said)
    if found is None:
        raise CheckpointError(
            f"{path}: its settings compute the output as {said!r:.60}, which is no activation behind the "
            f"last layer; give the network with --framework none --key policy --network MODULE:CALLABLE"
        )
    return found["activation"]


def _clip(
    agent: AgentConfig, settings: RunSettings, clips: str, elements: int, path: Path
) -> tuple[list[nn.Module], Contract]:
    """The step that clips the action, where bounds were given, and what it means.

    Raises CheckpointError without bounds where the settings have `clips`.
    """
    given = heads.bounds(agent, elements, path)
    if given is not None:
        return [Clip(*given)], Contract("continuous", low=given[0], high=given[1])
    if agent.bounds is None and settings.at(*MODEL, clips) is True:
        raise CheckpointError(
            f"{path}: its settings say {clips}; give the bounds of the action space with "
            f"--action-bounds LOW,HIGH, or none"
        )
    return [], Contract("continuous")
