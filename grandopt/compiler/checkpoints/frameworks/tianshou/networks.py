"""The networks of Tianshou's policies, found in a state dict by their names and rebuilt from their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks import layers
from grandopt.compiler.checkpoints.frameworks.distributional import Dueling, ExpectedReturn, MeanQuantile
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.module.wrappers import plain_name
from grandopt.errors import CheckpointError

Kind = Literal["gaussian", "squashed gaussian", "deterministic", "discrete", "q values"]


@dataclass(frozen=True)
class Found:
    """The tensors of a policy, by their names in it, and what the file says about it.

    `kind` is None where the rest of the file (the critics) does not say it. `branches` are the networks that
    stand behind the first one.
    """

    tensors: Tensors
    kind: Kind | None
    first: str
    branches: tuple[str, ...]
    quantiles: int | None = None


def found_in(content: Any) -> Found | None:
    """The policy in what was saved: a state dict, or one at `model` beside an optimizer's."""
    held = content.get("model") if isinstance(content, Mapping) and "model" in content else content
    if not isinstance(held, Mapping):
        return None
    everything = {
        plain_name(key): tensor
        for key, tensor in held.items()
        if isinstance(key, str) and isinstance(tensor, torch.Tensor)
    }
    if {key for key in held if not isinstance(held[key], torch.Tensor)} - {"_optimizers"}:
        return None
    own = layers.below(everything, "policy") or everything
    if layers.has_stack(own, "actor.preprocess.model.model"):
        actor = layers.below(own, "actor")
        ends = layers.stems(actor) - {"preprocess"}
        if layers.has_stack(actor, "mu.model") and ends <= {"mu", "sigma", "sigma_param"}:
            return Found(actor, _gaussian(everything), "preprocess.model.model", ("mu",))
        if layers.has_stack(actor, "last.model") and ends == {"last"}:
            return Found(actor, _last(everything, actor), "preprocess.model.model", ("last",))
    if layers.has_stack(own, "model.model.model"):
        return _q_values(everything, own)
    return None


def _gaussian(everything: Tensors) -> Kind | None:
    """SAC has two critics and their lagged copies, PPO and its like one critic; a policy alone has none."""
    stems = layers.stems(everything)
    if stems & {"critic2", "critic2_old"}:
        return "squashed gaussian"
    return "gaussian" if "critic" in stems and "critic_old" not in stems else None


def _last(everything: Tensors, actor: Tensors) -> Kind | None:
    """A critic that takes observation and action stands beside a deterministic actor, one that takes the
    observation beside an actor that chooses."""
    critics = (f"{name}.preprocess.model.model.0.weight" for name in ("critic", "critic1"))
    critic = next((everything[key] for key in critics if key in everything), None)
    if critic is None or critic.dim() != 2:
        return None
    observed = actor["preprocess.model.model.0.weight"].shape[1]
    return "discrete" if critic.shape[1] == observed else "deterministic"


def _q_values(everything: Tensors, own: Tensors) -> Found | None:
    """A DQN or one of its kind, for whose networks the policy's state dict has no more than a `Net`."""
    network = layers.below(own, "model")
    stems = layers.stems(network)
    dueling = layers.has_stack(network, "Q.model") and layers.has_stack(network, "V.model")
    if stems - ({"model", "Q", "V"} if dueling else {"model"}):
        return None
    taus = everything.get("tau_hat")
    quantiles = None if taus is None or taus.dim() != 3 else int(taus.shape[1])
    support = own.get("support")
    if dueling and (quantiles is not None or support is not None):
        return None
    if support is not None:
        network["support"] = support
    return Found(network, "q values", "model.model", ("Q", "V") if dueling else (), quantiles)


def network_of(found: Found, between: type[nn.Module], where: str) -> list[nn.Module]:
    """The layers from the observation to what the policy makes an action of."""
    tensors = found.tensors
    behind = bool(found.branches)
    network = layers.stack(tensors, found.first, between, where, last_active=behind)
    if "Q" in found.branches:
        branches = [
            nn.Sequential(*layers.stack(tensors, f"{name}.model", nn.ReLU, where)) for name in found.branches
        ]
        return [*network, Dueling(*branches)]
    for name in found.branches:
        network += layers.stack(tensors, f"{name}.model", nn.ReLU, where)
    support = tensors.get("support")
    if support is not None or found.quantiles is not None:
        each = found.quantiles or _atoms(support, where)
        if layers.outputs(network) % each:
            raise CheckpointError(
                f"{where}: the last layer gives {layers.outputs(network)} numbers, not {each} for each action"
            )
        network.append(MeanQuantile(each) if support is None else ExpectedReturn(support.float()))
    return network


def _atoms(support: torch.Tensor | None, where: str) -> int:
    if support is None or support.dim() != 1 or support.shape[0] == 0:
        raise CheckpointError(f"{where}: 'support' is no row of returns")
    return int(support.shape[0])


def choices(network: list[nn.Module]) -> int:
    """How many actions there are to choose from."""
    match network[-1]:
        case Dueling() as dueling:
            return layers.outputs([*dueling.advantage.children()])
        case MeanQuantile(quantiles=each):
            return layers.outputs(network) // each
        case ExpectedReturn(atoms=atoms):
            return layers.outputs(network) // atoms.shape[0]
    return layers.outputs(network)
