"""The model itself as an agent that can be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.backends.eager import in_memory
from grandopt.compiler.capture.export import unexported
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.module.memory import declared, from_module
from grandopt.errors import ConfigError
from grandopt.reason import Reason, ReasonCode
from grandopt.runtime.executors.base import Executor

NOT_EXPORTED = Reason(ReasonCode.UNKNOWN, "it is served as it is")


def original(
    name: str, model: torch.nn.Module | Path | str, example_input: Any, description: dict[str, Any]
) -> Executor:
    """The module, or the agent in a file, run by torch operator by operator in this process.

    `description` holds those of the arguments `state`, `outputs`, `stepwise` and `fix` of `grandopt.optimize`
    that were given. The module is copied. Raises as `grandopt.optimize` does for a model that is no agent.
    """
    given = {"state": None, "outputs": (), "stepwise": False, "fix": None, **description}
    if isinstance(model, torch.nn.Module):
        checkpoint = from_module(name, model, example_input, **given)
    elif example_input is None:
        checkpoint = detect.load(name, declared(Path(model), **given))
    else:
        raise ConfigError(f"{model}: the file says what its agent takes; leave 'example_input' out")
    return in_memory(unexported(checkpoint, NOT_EXPORTED))
