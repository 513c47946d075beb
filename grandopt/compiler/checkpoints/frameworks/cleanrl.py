"""CleanRL's checkpoints (`.cleanrl_model`), as its scripts for PyTorch save them.

Each algorithm is a script with its network written out, so that names and shapes say which one it is and what
stands between the layers: a tanh in PPO's continuous actor, a ReLU in all others. That actor was trained
behind Gymnasium's NormalizeObservation and a clip at ±10, whose statistics no script saves: without them it
is another agent, which is said and refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks import heads, layers
from grandopt.compiler.checkpoints.frameworks.around import Wrapper, around
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.distributional import ExpectedReturn
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.sb3.actions import ArgMax, Clip
from grandopt.compiler.checkpoints.sb3.observations import ToFloat
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "cleanrl"
TITLE = "CleanRL"
TAKES = frozenset({"statistics", "bounds"})

Kind = Literal["PPO", "DQN", "C51", "DDPG or TD3", "SAC"]
WRAPPER = Wrapper("NormalizeObservation", 1e-8, 10.0)
"""Gymnasium's, with the clip that the script puts behind it."""

HIDDEN = (120, 84)
"""Widths of the network in `dqn.py` and `c51.py`: any file may have three layers called `network`."""

ATARI = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3))
ATARI_STRIDES = (4, 2, 1)
IMAGE, FLAT, FEATURES = (4, 84, 84), 3136, 512
"""The network in `dqn_atari.py` and `c51_atari.py`: weights of its convolutions, and what it sees."""

STATISTICS = "--statistics FILE.npz: mean and var of NormalizeObservation, or none if there was none"


@dataclass(frozen=True)
class _Found:
    """The actor or the Q network in a file; `atoms` are the returns that C51 gives logits for."""

    kind: Kind
    tensors: Tensors
    atoms: torch.Tensor | None = field(default=None)


def recognises(content: Any) -> bool:
    """Whether it is what one of the scripts saves."""
    return _found(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The algorithm, the layers, and what has to be given (see `Framework`)."""
    found = _required(content, path)
    return {
        "recognised": f"the {'actor' if found.atoms is None and found.kind != 'DQN' else 'Q network'} of "
        f"{TITLE}'s {found.kind}",
        "layers": [str(layer) for layer in _network(found, str(path))],
        "asks": [STATISTICS] if found.kind == "PPO" else [],
        **weights.listed(found.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The mean action of an actor, or the action of the largest Q value.

    Raises CheckpointError for PPO's continuous actor without `statistics`, and for weights that do not fit.
    """
    found, where = _required(content, path), str(path)
    network = _network(found, where)
    details: dict[str, Any] = {"algorithm": found.kind}
    if found.kind == "PPO":
        return checkpoint(name, (NAME, TITLE), path, _normalised(network, agent, path, details))
    reason = (
        "whose observations and bounds are no other's"
        if found.kind in ("DQN", "C51")
        else ("which holds its own bounds and does not normalise")
    )
    refuse(agent, path, f"{TITLE}'s {found.kind}", ("statistics", "bounds"), reason)
    image = any(isinstance(layer, nn.Conv2d) for layer in network)
    observed = (
        TensorSpec(OBSERVATION, IMAGE, "uint8", 0.0, 255.0)
        if image
        else TensorSpec(OBSERVATION, (layers.inputs(network),))
    )
    if found.kind in ("DQN", "C51"):
        choices = layers.outputs(network) // (1 if found.atoms is None else found.atoms.shape[0])
        policy = Policy(
            nn.Sequential(*network, ArgMax()),
            (observed,),
            Contract("argmax", groups=(choices,)),
            details,
            scores=nn.Sequential(*network),
        )
    else:
        low, high = _bounds(found, where)
        module = nn.Sequential(*network, nn.Tanh(), *heads.rescaled(low, high))
        contract = Contract("continuous", low=low, high=high, squashed=True)
        policy = Policy(module, (observed,), contract, details)
    return checkpoint(name, (NAME, TITLE), path, policy)


def _required(content: Any, path: Path) -> _Found:
    found = _found(content)
    if found is None:
        raise CheckpointError(f"{path}: holds no network as {TITLE}'s scripts save it")
    return found


def _found(content: Any) -> _Found | None:
    if isinstance(content, Mapping) and content.keys() == {"model_weights", "args"}:
        tensors = dict(layers.tensors_of(content, "model_weights"))
        atoms = tensors.pop("atoms", None)
        if atoms is None or atoms.dim() != 1 or atoms.shape[0] == 0 or not _is_q_network(tensors):
            return None
        return _Found("C51", tensors, atoms)
    if isinstance(content, tuple) and len(content) in (2, 3):
        content = content[0]  # actor and critics
    tensors = dict(layers.tensors_of(content))
    if layers.stems(tensors) == {"actor_mean", "actor_logstd", "critic"}:
        spread = tensors.get("actor_logstd")
        stacks = all(layers.has_stack(tensors, name) for name in ("actor_mean", "critic"))
        return _Found("PPO", tensors) if stacks and spread is not None and spread.dim() == 2 else None
    own = {"fc1", "fc2", "action_scale", "action_bias"}
    if layers.stems(tensors) == own | {"fc_mu"}:
        return _Found("DDPG or TD3", tensors)
    if layers.stems(tensors) == own | {"fc_mean", "fc_logstd"}:
        return _Found("SAC", tensors)
    return _Found("DQN", tensors) if _is_q_network(tensors) else None


def _is_q_network(tensors: Tensors) -> bool:
    """Whether it is the network of `dqn.py` or of `dqn_atari.py`, by names and widths."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    weights_of = {name: shape for name, shape in shapes.items() if name.endswith(".weight")}
    if len(shapes) != 2 * len(weights_of):
        return False
    match [weights_of.get(f"network.{place}.weight") for place in (0, 2, 4, 7, 9)]:
        case [(first, _), (second, _), (_, _), None, None]:
            return (first, second) == HIDDEN and len(weights_of) == 3
        case [a, b, c, (features, flat), (_, _)]:
            return (a, b, c) == ATARI and (features, flat) == (FEATURES, FLAT) and len(weights_of) == 5
    return False


def _network(found: _Found, where: str) -> list[nn.Module]:
    """The layers from the observation to the mean, before it is bounded, or to the Q values."""
    tensors = found.tensors
    if found.kind == "PPO":
        return layers.stack(tensors, "actor_mean", nn.Tanh, where)
    if found.kind in ("DQN", "C51"):
        atari = tensors["network.0.weight"].dim() == 4
        network = _atari(tensors, where) if atari else layers.stack(tensors, "network", nn.ReLU, where)
        if found.atoms is None:
            return network
        if layers.outputs(network) % found.atoms.shape[0]:
            raise CheckpointError(
                f"{where}: the last layer gives {layers.outputs(network)} numbers, not "
                f"{found.atoms.shape[0]} for each action"
            )
        return [*network, ExpectedReturn(found.atoms.float())]
    last = "fc_mean" if found.kind == "SAC" else "fc_mu"
    first, second, mean = (layers.linear(tensors, name, where) for name in ("fc1", "fc2", last))
    return [first, nn.ReLU(), second, nn.ReLU(), mean]


def _atari(tensors: Tensors, where: str) -> list[nn.Module]:
    network: list[nn.Module] = [ToFloat(255.0)]
    for place, stride in zip((0, 2, 4), ATARI_STRIDES, strict=True):
        weight = tensors[f"network.{place}.weight"]
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride)
        given = {"weight": weight, "bias": tensors.get(f"network.{place}.bias")}
        if given["bias"] is None or given["bias"].shape != weight.shape[:1]:
            raise CheckpointError(f"{where}: 'network.{place}' has no bias of {weight.shape[0]} numbers")
        convolution.load_state_dict(given)
        network += [convolution, nn.ReLU()]
    linear = layers.linear(tensors, "network.7", where)
    return [*network, nn.Flatten(), linear, nn.ReLU(), layers.linear(tensors, "network.9", where)]


def _bounds(found: _Found, where: str) -> heads.Bounds:
    """The environment's bounds, from the two buffers that the actor keeps of them."""
    scale, bias = (found.tensors[name].flatten().double() for name in ("action_scale", "action_bias"))
    elements = found.tensors["fc_mean.weight" if found.kind == "SAC" else "fc_mu.weight"].shape[0]
    if scale.shape != bias.shape or scale.shape[0] != elements or not bool((scale > 0).all()):
        raise CheckpointError(
            f"{where}: 'action_scale' and 'action_bias' are no bounds of {elements} numbers"
        )
    return tuple((bias - scale).tolist()), tuple((bias + scale).tolist())


def _normalised(network: list[nn.Module], agent: AgentConfig, path: Path, details: dict[str, Any]) -> Policy:
    """PPO's continuous actor behind the normalisation of its environment."""
    elements, bounds = layers.inputs(network), heads.bounds(agent, layers.outputs(network), path)
    low, high = bounds or (None, None)
    if agent.statistics is None:
        raise CheckpointError(
            f"{path}: {TITLE} trains this actor behind NormalizeObservation, whose statistics are not in the "
            f"file, so that without them it is another agent; give them with --statistics FILE.npz (mean and "
            f"var of the environment's obs_rms), or say --statistics none if it was trained without"
        )
    before = around(agent.statistics, elements, WRAPPER)
    return Policy(
        nn.Sequential(*before.steps, *network, *([] if bounds is None else [Clip(*bounds)])),
        (TensorSpec(OBSERVATION, (elements,)),),
        before.contract(Contract("continuous", low=low, high=high)),
        {**details, **before.details},
        moments=before.moments,
        statistics=before.statistics,
    )
