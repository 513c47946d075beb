"""Which algorithm an agent comes from, and the network of its deterministic policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from grandopt.compiler.checkpoints.sb3 import layers, recurrent
from grandopt.compiler.checkpoints.sb3.archive import Sb3Archive
from grandopt.errors import CheckpointError

Algorithm = Literal[
    "PPO", "A2C", "TRPO", "DQN", "QR-DQN", "SAC", "TQC", "CrossQ", "TD3", "DDPG", "ARS", "RecurrentPPO",
    "MaskablePPO",
]  # fmt: skip
Family = Literal[
    "actor-critic", "q", "quantile", "gaussian", "renormed", "deterministic", "search", "recurrent", "masked"
]

FAMILIES: dict[str, Family] = {
    "stable_baselines3.common.policies": "actor-critic",
    "stable_baselines3.ppo.policies": "actor-critic",
    "stable_baselines3.a2c.policies": "actor-critic",
    "sb3_contrib.trpo.policies": "actor-critic",
    "stable_baselines3.dqn.policies": "q",
    "sb3_contrib.qrdqn.policies": "quantile",
    "stable_baselines3.sac.policies": "gaussian",
    "sb3_contrib.tqc.policies": "gaussian",
    "stable_baselines3.td3.policies": "deterministic",
    "sb3_contrib.ars.policies": "search",
    "sb3_contrib.crossq.policies": "renormed",
    "sb3_contrib.common.recurrent.policies": "recurrent",
    "sb3_contrib.common.maskable.policies": "masked",
}
"""The module of the policy class to the kind of network. Other modules hold policies of the user's own."""

SIGNS: tuple[tuple[str, Family], ...] = (
    (f"{recurrent.LAYER}.", "recurrent"),
    ("mlp_extractor.", "actor-critic"),
    ("value_net.", "actor-critic"),
    ("quantile_net.", "quantile"),
    ("q_net.", "q"),
    ("actor.latent_pi.0.ra_mean", "renormed"),
    ("actor.latent_pi.", "gaussian"),
    ("actor.log_std", "gaussian"),
    ("actor.mu.", "deterministic"),
    ("action_net.", "search"),
)
"""Where the zip names no policy class: the beginning of a tensor's name to the kind, most telling first."""

DEFAULT_CLIP_MEAN = 2.0
"""SAC, TQC and CrossQ with gSDE hold the mean within ±2 unless `clip_mean` says otherwise."""

DEFAULT_RENORM_EPSILON = 0.001
"""What CrossQ's batch renormalisation adds to the variance unless `batch_norm_eps` says otherwise."""


@dataclass(frozen=True)
class Sb3Policy:
    """The network of a policy, before observations come in and actions go out.

    `network` maps features [B, n] to scores, means or Q values [B, m]; `extractor` is where the weights of
    the features extractor begin; `squashed` says that a tanh follows. `memory` is the recurrent layer that
    stands between features and network, if there is one; `masked` says that the allowed actions are told.
    """

    algorithm: Algorithm
    extractor: str
    network: tuple[nn.Module, ...]
    squashed: bool
    memory: nn.LSTM | None = None
    masked: bool = False


class QuantileMean(nn.Module):
    """Q values as the mean over quantiles."""

    def __init__(self, quantiles: int, actions: int) -> None:
        super().__init__()
        self.quantiles, self.actions = quantiles, actions

    def forward(self, quantiles: torch.Tensor) -> torch.Tensor:
        """[B, quantiles * actions] to [B, actions]."""
        return quantiles.view(-1, self.quantiles, self.actions).mean(dim=1)


def read(archive: Sb3Archive, actions: int, *, continuous: bool) -> Sb3Policy:
    """The policy in the archive, whose actions are made of `actions` numbers.

    Raises CheckpointError for policies that are not SB3's own, or when the weights do not have the names
    and shapes that SB3 gives them.
    """
    tensors, where = archive.tensors, f"{archive.path} (policy.pth)"
    family = family_of(archive)
    default = nn.Tanh if family in ("actor-critic", "recurrent", "masked") else nn.ReLU
    between = layers.activation(archive.class_argument("activation_fn"), default, str(archive.path))
    algorithm = _algorithm(archive, family)
    network: list[nn.Module]
    match family:
        case "actor-critic" | "recurrent" | "masked":
            prefix = "mlp_extractor"
            network = layers.stack(tensors, f"{prefix}.shared_net", between, where, last_active=True)
            network += layers.stack(tensors, f"{prefix}.policy_net", between, where, last_active=True)
            network.append(layers.linear(tensors, "action_net", where))
            own = any(key.startswith("pi_features_extractor.") for key in tensors)
            extractor = "pi_features_extractor" if own else "features_extractor"
            squashed = continuous and bool(archive.policy_argument("squash_output"))
        case "q":
            network = layers.stack(tensors, "q_net.q_net", between, where, last_active=False)
            extractor, squashed = "q_net.features_extractor", False
        case "quantile":
            network = layers.stack(tensors, "quantile_net.quantile_net", between, where, last_active=False)
            network += _quantile_mean(network, actions, where)
            extractor, squashed = "quantile_net.features_extractor", False
        case "gaussian":
            network = layers.stack(tensors, "actor.latent_pi", between, where, last_active=True)
            network += _mean(archive, where)
            extractor, squashed = "actor.features_extractor", True
        case "renormed":
            network = layers.renormed_stack(tensors, "actor.latent_pi", between, _epsilon(archive), where)
            network += _mean(archive, where)
            extractor, squashed = "actor.features_extractor", True
        case "deterministic":
            network = layers.stack(tensors, "actor.mu", between, where, last_active=False)
            extractor, squashed = "actor.features_extractor", True
        case "search":
            if "action_net.weight" in tensors:  # a linear policy before sb3-contrib 1.4
                network = [layers.linear(tensors, "action_net", where)]
            else:
                network = layers.stack(tensors, "action_net", between, where, last_active=False)
            extractor, squashed = "features_extractor", continuous and _search_squashes(archive)
    _require_width(network, actions, where)
    memory = recurrent.lstm(tensors, where) if family == "recurrent" else None
    return Sb3Policy(algorithm, extractor, tuple(network), squashed, memory, family == "masked")


def family_of(archive: Sb3Archive) -> Family:
    """The kind of network, by the policy's class or, where the zip names none, by the names of its weights.

    Raises CheckpointError for a class that is not SB3's own, and where neither says it.
    """
    module = archive.policy_module
    if module in FAMILIES:
        return FAMILIES[module]
    if module:
        raise CheckpointError(
            f"{archive.path}: the policy is {module}.{archive.policy_class or '?'}, which is none of SB3's "
            f"own, so that what it computes is not in the zip's text; export it with torch.export instead"
        )
    for sign, family in SIGNS:
        if any(key.startswith(sign) for key in archive.tensors):
            return family
    raise CheckpointError(
        f"{archive.path}: neither a policy class nor the weights of a known policy are in it"
    )


def _algorithm(archive: Sb3Archive, family: Family) -> Algorithm:
    """The algorithm by name. Within a family it changes nothing about the policy."""
    data = archive.data
    match family:
        case "actor-critic":
            return "PPO" if "clip_range" in data else "TRPO" if "cg_max_steps" in data else "A2C"
        case "q":
            return "DQN"
        case "quantile":
            return "QR-DQN"
        case "gaussian":
            return "TQC" if "top_quantiles_to_drop_per_net" in data else "SAC"
        case "deterministic":
            # DDPG is TD3 without its three additions, and SB3 saves it as such
            plain = data.get("policy_delay", 1) == 1 and data.get("target_noise_clip", 0.0) == 0.0
            return "DDPG" if plain else "TD3"
        case "search":
            return "ARS"
        case "renormed":
            return "CrossQ"
        case "recurrent":
            return "RecurrentPPO"
        case "masked":
            return "MaskablePPO"


def _mean(archive: Sb3Archive, where: str) -> list[nn.Module]:
    """The mean of SAC, TQC and CrossQ: with gSDE it is a Sequential that ends in a Hardtanh."""
    if "actor.mu.weight" in archive.tensors:
        return [layers.linear(archive.tensors, "actor.mu", where)]
    clip = archive.policy_argument("clip_mean")
    limit = DEFAULT_CLIP_MEAN if clip is None else float(clip)
    return [layers.linear(archive.tensors, "actor.mu.0", where), nn.Hardtanh(-limit, limit)]


def _epsilon(archive: Sb3Archive) -> float:
    given = archive.policy_argument("batch_norm_eps")
    if given is None:
        return DEFAULT_RENORM_EPSILON
    if not isinstance(given, float | int) or not 0 < given < 1:
        raise CheckpointError(
            f"{archive.path}: policy_kwargs['batch_norm_eps'] is {given!r}, no small number"
        )
    return float(given)


def _quantile_mean(network: list[nn.Module], actions: int, where: str) -> list[nn.Module]:
    last = network[-1] if network else None
    if not isinstance(last, nn.Linear) or last.out_features % actions:
        raise CheckpointError(
            f"{where}: the last layer does not give the same number of quantiles per action"
        )
    return [QuantileMean(last.out_features // actions, actions)]


def _search_squashes(archive: Sb3Archive) -> bool:
    """Whether ARS bounds its action with a tanh: ARSPolicy does by default, ARSLinearPolicy does not."""
    given = archive.policy_argument("squash_output")
    if given is not None:
        return bool(given)
    match archive.policy_class:
        case "ARSPolicy":
            return True
        case "ARSLinearPolicy":
            return False
    raise CheckpointError(
        f"{archive.path}: the zip does not say whether the policy is ARSPolicy or ARSLinearPolicy, which "
        f"bound their actions in different ways"
    )


def _require_width(network: list[nn.Module], actions: int, where: str) -> None:
    last = next((layer for layer in reversed(network) if isinstance(layer, nn.Linear | QuantileMean)), None)
    if last is None:
        raise CheckpointError(f"{where}: holds no layer that gives an action")
    given = last.out_features if isinstance(last, nn.Linear) else last.actions
    if given != actions:
        raise CheckpointError(
            f"{where}: the last layer gives {given} numbers, the action space takes {actions}"
        )
