"""What lies in a folder of Brax: how the network is made, its weights, and the statistics of observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks import folders
from grandopt.compiler.checkpoints.frameworks.brax.arrays import Arrays
from grandopt.compiler.checkpoints.frameworks.flax import layers
from grandopt.errors import CheckpointError

STATISTICS, POLICY = "0", "1.params"
"""Where in the trees of Orbax these begin."""


@dataclass(frozen=True)
class Algorithm:
    """What Brax takes where the configuration says nothing, by the names that it has there."""

    title: str
    sizes: str
    activation: str
    known: tuple[str, ...]


SHARED = ("activation", "distribution_type", "noise_std_type", "init_noise_std", "state_dependent_std")
ALGORITHMS = {
    "ppo": Algorithm("PPO", "policy_hidden_layer_sizes", "swish", (
        *SHARED, "policy_hidden_layer_sizes", "value_hidden_layer_sizes", "policy_obs_key", "value_obs_key",
        "mean_clip_scale", "use_distributional_critic", "num_quantiles",
    )),
    "sac": Algorithm("SAC", "hidden_layer_sizes", "relu", (
        *SHARED, "hidden_layer_sizes", "policy_network_layer_norm", "q_network_layer_norm",
    )),
}  # fmt: skip
"""`make_ppo_networks` and `make_sac_networks` of Brax 0.14 with all their settings but those below."""

INITIAL = ("_kernel_init_fn", "_kernel_init_kwargs")
"""Endings of settings that only say how weights began."""


@dataclass(frozen=True)
class Found:
    """What the folder holds: the algorithm, the configuration and the tensors of the policy by their names.

    `observation` names the part of a dict of observations that the policy takes; None where they are one.
    """

    where: str
    algorithm: Algorithm
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    arrays: Arrays
    tensors: Mapping[str, torch.Tensor]
    observation: str | None

    @property
    def squashed(self) -> bool:
        """Whether a tanh stands behind the mean."""
        return self.settings.get("distribution_type", "tanh_normal") == "tanh_normal"

    @property
    def normalises(self) -> bool:
        """Whether observations are normalised."""
        return self.config.get("normalize_observations") is True

    @property
    def stem(self) -> str:
        """What the names of the hidden layers begin with."""
        return "" if self.squashed else "MLP_0."

    @property
    def hidden(self) -> int:
        """How many layers are named `hidden_0`, `hidden_1`, …"""
        return sum(
            name.startswith(f"{self.stem}hidden_") and name.endswith(".kernel") for name in self.tensors
        )


def read(path: Path, content: Folder) -> Found:
    """What is in the folder, with what it lacks refused."""
    where = str(path)
    name = folders.brax_config(content) or ""
    algorithm = ALGORITHMS.get(name.removesuffix(folders.BRAX_CONFIG))
    if algorithm is None:
        known = ", ".join(f"{word}{folders.BRAX_CONFIG}" for word in ALGORITHMS)
        raise CheckpointError(f"{where}: holds {name!r:.80}; of Brax's networks only {known} are read")
    config = content.document(name)
    settings = config.get("network_factory_kwargs", {})
    if not isinstance(settings, dict):
        raise CheckpointError(f"{where}: {name}: 'network_factory_kwargs' is no object")
    strange = [key for key in settings if key not in algorithm.known and not key.endswith(INITIAL)]
    if strange:
        raise CheckpointError(
            f"{where}: {name}: says {strange[0]!r:.60}, which no network of Brax's own has; export the "
            f"policy as ONNX, and name that file"
        )
    if settings.get("distribution_type", "tanh_normal") not in ("tanh_normal", "normal"):
        raise CheckpointError(f"{where}: {name}: 'distribution_type' is not known here")
    arrays = Arrays({key: value for key, value in content.everything().items() if key != name}, where)
    tensors = {
        key.removeprefix(f"{POLICY}."): layers.tensor(arrays.array(key), key, where)
        for key in arrays.names
        if key.startswith(f"{POLICY}.")
    }
    if not tensors:
        raise CheckpointError(f"{where}: holds no policy: no array's name begins with {POLICY!r}")
    observation = settings.get("policy_obs_key", "state") if _is_dict(config) else None
    return Found(where, algorithm, config, settings, arrays, tensors, observation)


def _is_dict(config: Mapping[str, Any]) -> bool:
    """Whether observations are a dict, of which the policy takes one part."""
    return isinstance(config.get("observation_size"), dict)
