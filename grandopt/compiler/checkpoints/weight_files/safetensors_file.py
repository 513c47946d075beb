"""safetensors files: weights and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes

from grandopt import limits
from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.left_out import left_out
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.compiler.checkpoints.weight_files import network, plain
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, first_line

FORMAT = "safetensors"

DAMAGED = (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""What safetensors raises on damaged files, and on dtypes that this torch does not know."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The configured network with the weights of the file; `key` picks the tensors under "key.".

    Raises CheckpointError like the loader of state dicts.
    """
    path = files.checkpoint_path(agent)
    refuse(agent, path, "safetensors", ("vecnormalize",), "observation statistics belong to an SB3 zip")
    everything = tensors = _read(path)
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
    checkpoint = network.loaded(name, agent, path, tensors, where, FORMAT)
    return replace(checkpoint, statistics=left_out(everything, agent.key))


def describe(path: Path) -> dict[str, Any]:
    """The tensors in the file."""
    tensors = _read(path)
    return {"format": FORMAT, **plain.proposal(tensors, "", ordered=False), **weights.listed(tensors)}


def _read(path: Path) -> dict[str, torch.Tensor]:
    return from_bytes(files.content(path), str(path))


def from_bytes(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """The tensors in the bytes of a file; raises CheckpointError, begun by `where`, when it is damaged."""
    header = int.from_bytes(data[:8], "little")
    if header > limits.HEADER_BYTES:
        raise CheckpointError(
            f"{where}: its table of contents has {header:,} bytes; at most {limits.HEADER_BYTES:,} are read"
        )
    try:
        found: dict[str, torch.Tensor] = load_bytes(data)
    except DAMAGED as error:
        raise CheckpointError(f"{where}: is a damaged safetensors file: {first_line(error)}") from error
    return found
