"""safetensors files: weights and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from grandopt.compiler.checkpoints import network, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import checkpoint_path, refuse
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

FORMAT = "safetensors"


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The configured network with the weights of the file; `key` picks the tensors under "key.".

    Raises CheckpointError like the loader of state dicts.
    """
    path = checkpoint_path(agent)
    refuse(agent, path, "safetensors", ("vecnormalize",), "observation statistics belong to an SB3 zip")
    tensors = _read(path)
    where = str(path)
    if agent.key is not None:
        prefix, names = f"{agent.key}.", ", ".join(sorted({key.partition(".")[0] for key in tensors}))
        tensors = {
            key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
        }
        if not tensors:
            raise CheckpointError(
                f"{path}: no tensor's name begins with {prefix!r}; they begin with: {names}"
            )
        where = f"{path} at {agent.key}"
    weights.require_finite(tensors.items(), where)
    module = network.instantiate(agent, path)
    network.fit(module, tensors, where)
    return network.assembled(name, agent, path, module, FORMAT)


def describe(path: Path) -> dict[str, Any]:
    """The tensors in the file."""
    return {"format": FORMAT, **weights.listed(_read(path))}


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is a damaged safetensors file: {error}") from error
