"""Agents that programs write with `flax.serialization.to_bytes`, such as CleanRL's for JAX.

A file holds arrays and no network, so activation and what the last layer gives are asked for. Two kinds of
CleanRL's say more: C51 keeps its settings beside the weights, DDPG and TD3 write a list of actor and critics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks import heads
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.distributional import ExpectedReturn
from grandopt.compiler.checkpoints.frameworks.flax import layers
from grandopt.compiler.checkpoints.frameworks.flax.networks import Network, networks
from grandopt.compiler.checkpoints.sb3.actions import ArgMax
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

FORMAT = NAME = "flax"
TITLE = "Flax"
TAKES = frozenset({"activation", "bounds", "distribution"})

Kind = Literal["stack", "actor", "categorical"]
ATOMS = ("n_atoms", "v_min", "v_max")
"""Settings of CleanRL's C51: how many values its distribution has, the least and the largest."""

SETTINGS, WEIGHTS = "args", "model_weights"
MOST_ATOMS = 10_000

ASK_ACTIVATION = f"--activation NAME: what stands between the layers ({', '.join(layers.ACTIVATIONS)})"
ASK_DISTRIBUTION = (
    "--distribution NAME: 'categorical' where the last layer gives scores, the largest of which is the "
    "action, 'none' where it gives the action"
)
ASK_BOUNDS = "--action-bounds LOW,HIGH: what the actor's tanh is scaled to"


@dataclass(frozen=True)
class _Found:
    """The network in a file that acts, what it is, and the values of C51's distribution."""

    network: Network
    kind: Kind
    atoms: torch.Tensor | None

    @property
    def said(self) -> str:
        """What it is, in words."""
        words = {
            "stack": "a stack of dense layers",
            "actor": "an actor with its critics behind it, as CleanRL's DDPG and TD3 save them",
            "categorical": "a distribution of values for each action, as CleanRL's C51 saves it",
        }
        return words[self.kind]


def recognises(content: Any) -> bool:
    """Whether it is what `packed.tree` reads, with a dense layer anywhere."""
    return isinstance(content, Mapping) and bool(networks(content, ""))


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The network that acts, and what has to be given; see `Framework`."""
    found = _found(path, content)
    asks = {"stack": [ASK_DISTRIBUTION], "actor": [ASK_BOUNDS], "categorical": []}
    return {
        "recognised": found.said,
        "network": found.network.spelled(),
        "asks": [ASK_ACTIVATION, *asks[found.kind]],
        **weights.listed(found.network.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The agent's action: an index where the last layer gives scores, else numbers.

    Raises CheckpointError where activation, distribution or bounds are needed and were not given, where they
    are of no use, and for networks that are no plain stack.
    """
    found = _found(path, content)
    where = str(path)
    if agent.activation is None:
        raise CheckpointError(f"{where}: a file of Flax does not say it; give {ASK_ACTIVATION}")
    between = layers.activation(agent.activation, where)
    stack: list[nn.Module] = []
    for layer in found.network.linear(where):
        stack += [layer, between()]
    stack.pop()
    inputs = (TensorSpec(OBSERVATION, (found.network.ends[0],)),)
    steps, contract = _head(found, agent, path)
    details = {
        "recognised": found.said, "place": found.network.place, "network": found.network.spelled(),
        "activation": agent.activation,
    }  # fmt: skip
    scores = None if contract.action != "argmax" else nn.Sequential(*stack, *steps[:-1])
    policy = Policy(nn.Sequential(*stack, *steps), inputs, contract, details, scores=scores)
    return checkpoint(name, (NAME, TITLE), path, policy)


def _head(found: _Found, agent: AgentConfig, path: Path) -> tuple[list[nn.Module], Contract]:
    """What follows the last layer; raises CheckpointError where what it depends on was not given."""
    count = found.network.ends[1]
    _require_settings(found, agent, path)
    if found.kind == "actor":
        low, high = heads.bounds(agent, count, path) or ((-1.0,) * count, (1.0,) * count)
        contract = Contract("continuous", low=low, high=high, squashed=True)
        return [nn.Tanh(), *heads.rescaled(low, high)], contract
    if found.atoms is not None:
        if count % len(found.atoms):
            raise CheckpointError(
                f"{path}: the last layer gives {count} numbers, no multiple of the {len(found.atoms)} atoms"
            )
        actions = count // len(found.atoms)
        return [ExpectedReturn(found.atoms), ArgMax()], Contract("argmax", groups=(actions,))
    if agent.distribution == "categorical":
        return [ArgMax()], Contract("argmax", groups=(count,))
    return [], Contract()


def _require_settings(found: _Found, agent: AgentConfig, path: Path) -> None:
    """Refuse a setting that says nothing about this network, and one that it lacks."""
    wanted, ask = {
        "stack": ("distribution", ASK_DISTRIBUTION), "actor": ("bounds", ASK_BOUNDS), "categorical": ("", ""),
    }[found.kind]  # fmt: skip
    for field in ("bounds", "distribution"):
        given = getattr(agent, field)
        if given is not None and field != wanted:
            raise CheckpointError(f"{path}: {field!r} cannot be used with {found.said}; remove it")
        if given is None and field == wanted:
            raise CheckpointError(f"{path}: a file of Flax does not say it; give {ask}")
    if found.kind == "stack" and agent.distribution not in ("categorical", "none"):
        raise CheckpointError(
            f"{path}: 'distribution' is {agent.distribution!r}, and a stack of Flax has 'categorical' or "
            f"'none'"
        )


def _found(path: Path, content: Mapping[str, Any]) -> _Found:
    """The network that acts; raises CheckpointError where several might, or none is there."""
    where = str(path)
    found = networks(content, where)
    settings = content.get(SETTINGS)
    if len(found) == 1:
        if found[0].place == WEIGHTS and isinstance(settings, Mapping) and settings.keys() >= set(ATOMS):
            return _Found(found[0], "categorical", _atoms(settings, where))
        return _Found(found[0], "stack", None)
    if not found:
        raise CheckpointError(f"{where}: is a file of Flax, but holds no dense layer")
    if _is_actor_first(found):
        return _Found(found[0], "actor", None)
    places = ", ".join(network.place or "the top" for network in found[:4])
    raise CheckpointError(
        f"{where}: holds {len(found)} networks (at {places:.200}), and which of them acts is not known; "
        f"write the parameters of that one alone"
    )


def _is_actor_first(found: list[Network]) -> bool:
    """Whether it is a list of an actor and critics, each of which takes an observation and an action."""
    if [network.place for network in found] != [str(index) for index in range(len(found))] or len(found) > 3:
        return False
    if any(network.strange is not None or not _are_matrices(network) for network in found):
        return False
    observed, acted = found[0].ends
    return all(network.ends == (observed + acted, 1) for network in found[1:])


def _are_matrices(network: Network) -> bool:
    return all(network.tensors[f"{name}.kernel"].dim() == 2 for name in network.names)


def _atoms(settings: Mapping[str, Any], where: str) -> torch.Tensor:
    """The values of C51's distribution; raises CheckpointError for settings that say none."""
    count, low, high = (settings[name] for name in ATOMS)
    numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in (low, high))
    if type(count) is not int or not 2 <= count <= MOST_ATOMS or not numbers:
        raise CheckpointError(
            f"{where}: {', '.join(ATOMS)} are {count!r:.20}, {low!r:.20} and {high!r:.20}, which are no atoms"
        )
    return torch.linspace(float(low), float(high), count)
