"""Whole modules written with `torch.save(module)`: reading one runs the code that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module.wrappers import unwrapped
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.compiler.checkpoints.weight_files import network
from grandopt.config.schema import AgentConfig
from grandopt.errors import UntrustedError

FORMAT = "pickled"


def load(name: str, agent: AgentConfig, module: torch.nn.Module) -> Checkpoint:
    """The checkpoint of a module that was unpickled, which only happens to a trusted file.

    Raises UntrustedError when the agent is not trusted after all, and CheckpointError for settings that
    do not apply, weights with NaN or inf, or when the module does not take the configured inputs.
    """
    path = files.checkpoint_path(agent)
    if not agent.trust:
        raise UntrustedError(f"{path}: is a pickled module; pass --trust to run what it names")
    fields = ("key", "network", "network_args")
    refuse(agent, path, "a pickled module", fields, "which brings its own network")
    refuse(agent, path, "a pickled module", ("vecnormalize",), "observation statistics belong to an SB3 zip")
    return network.assembled(name, agent, path, unwrapped(module), FORMAT)


def describe(module: torch.nn.Module) -> dict[str, Any]:
    """The class and the tensors of an unpickled module."""
    kind = type(module)
    return {
        "format": FORMAT,
        "module": f"{kind.__module__}.{kind.__qualname__}",
        **weights.listed(module.state_dict()),
    }


def describe_refused(path: Path, error: UntrustedError) -> dict[str, Any]:
    """What can be said of a pickle that is not trusted: that, and why."""
    return {"format": FORMAT, "trusted": False, "refused": str(error).removeprefix(f"{path}: ")}
