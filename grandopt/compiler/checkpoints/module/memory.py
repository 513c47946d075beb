"""An agent that is already in memory: a module and one batch of its inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module.example import ExampleReading, examples, fitting, readings
from grandopt.compiler.checkpoints.module.wrappers import unwrapped
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.torchscript.script import reopened, required
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, ConfigError, SignatureError, first_line


def from_module(
    name: str,
    model: torch.nn.Module,
    example_input: Any,
    *,
    state: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    stepwise: bool = False,
) -> Checkpoint:
    """A checkpoint of a module; the caller's module is copied and stays as it is.

    `example_input` is one batch: an array or tensor [B, *shape], a tuple or list of them, or a mapping from
    input names to them, in calling order. One observation is taken, too, where the network does not run on
    it as a batch. Floats in NumPy arrays and lists stand for the dtype that the network takes; those of
    tensors are meant as they are. `state`, `outputs` and `stepwise` are those of `AgentConfig`.
    Raises CheckpointError when `model` is not a module or cannot be copied, or when a ScriptModule is no
    agent as it is; SignatureError when the example is a single number or the state does not fit.
    """
    if not isinstance(model, torch.nn.Module):
        raise CheckpointError(f"expected a torch.nn.Module, got {type(model).__name__}")
    agent = declared(Path(f"<memory:{name}>"), state or {}, outputs, stepwise=stepwise)
    axes = {key: item.batch_axis for key, item in agent.state.items()}
    given = examples(example_input)
    if not given:
        raise SignatureError("example_input holds no input")
    if isinstance(model, torch.jit.ScriptModule):
        required(model, f"model {model.original_name}", len(given))
    options = list(readings(_frozen_copy(model), given, axes))

    def read(option: ExampleReading) -> Checkpoint:
        kind = {"class": type(model).__qualname__}
        details = kind if option.batched else {**kind, "example": "one observation, without a batch"}
        source = Source(format="memory", weights="memory", details=details)
        return recurrent(Checkpoint(name, option.module, option.inputs, source), agent)

    if not (agent.state or agent.outputs or agent.stepwise):
        return read(fitting(options, given))
    return _first(read, [option for option in options if option.batched])


def _first(read: Callable[[ExampleReading], Checkpoint], options: Sequence[ExampleReading]) -> Checkpoint:
    """The checkpoint of the first reading that fits the declared state; raises like that of the first."""
    refusals: list[SignatureError] = []
    for option in options:
        try:
            return read(option)
        except SignatureError as error:
            refusals.append(error)
    raise refusals[0]


def declared(
    checkpoint: Path, state: Mapping[str, Any], outputs: Sequence[str], *, stepwise: bool
) -> AgentConfig:
    """The configuration of an agent that was described in Python; raises ConfigError for what makes none."""
    try:
        return AgentConfig.model_validate(
            {"checkpoint": checkpoint, "state": dict(state), "outputs": tuple(outputs), "stepwise": stepwise}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "state"
        raise ConfigError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _frozen_copy(model: torch.nn.Module) -> torch.nn.Module:
    if isinstance(model, torch.jit.ScriptModule):
        return reopened(model)
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError, copy.Error) as error:
        raise CheckpointError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error
    twin = unwrapped(twin).to("cpu").eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin
