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
from grandopt.compiler.checkpoints.module.example import Example, ExampleReading, examples, fitting, readings
from grandopt.compiler.checkpoints.module.wrappers import unwrapped
from grandopt.compiler.checkpoints.stateful.inside import with_state_outside
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.torchscript.agent import as_agent
from grandopt.compiler.checkpoints.torchscript.called import called
from grandopt.compiler.checkpoints.torchscript.script import reopened
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
    fix: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A checkpoint of a module; the caller's module is copied and stays as it is.

    `example_input` is one batch: an array or tensor [B, *shape], a tuple or list of them, or a mapping from
    input names to them, in calling order. One observation is taken, too, where the network does not run on
    it as a batch. Floats in NumPy arrays and lists stand for the dtype that the network takes; those of
    tensors are meant as they are. `state`, `outputs`, `stepwise` and `fix` are those of `AgentConfig`.
    Raises CheckpointError when `model` is not a module or cannot be copied, or when a ScriptModule is no
    agent as it is; SignatureError when the example is a single number or the state does not fit.
    """
    if not isinstance(model, torch.nn.Module):
        raise CheckpointError(f"expected a torch.nn.Module, got {type(model).__name__}")
    agent = declared(Path(f"<memory:{name}>"), state=state, outputs=outputs, stepwise=stepwise, fix=fix)
    axes = {key: item.batch_axis for key, item in agent.state.items()}
    given = examples(example_input)
    if not given:
        raise SignatureError("example_input holds no input")
    network = _frozen_copy(model)
    options = list(readings(network, given, axes))

    def found(option: ExampleReading) -> Checkpoint:
        kind = {"class": type(model).__qualname__}
        details = kind if option.batched else {**kind, "example": "one observation, without a batch"}
        source = Source(format="memory", weights="memory", details=details)
        checkpoint = Checkpoint(name, option.module, option.inputs, source)
        if isinstance(network, torch.jit.ScriptModule):
            return checkpoint
        return with_state_outside(checkpoint, agent, type(model).__qualname__)

    read = _way_of(network, agent, given)
    if read is not None:
        return _first(lambda option: read(found(option)), [item for item in options if item.batched])
    if not (agent.state or agent.outputs or agent.stepwise):
        return found(fitting(options, given))
    return _first(
        lambda option: _declared_state(found(option), agent),
        [option for option in options if option.batched],
    )


def _declared_state(checkpoint: Checkpoint, agent: AgentConfig) -> Checkpoint:
    """The checkpoint with the state that was declared, unless its network turned out to hold its own."""
    return checkpoint if checkpoint.contract.state else recurrent(checkpoint, agent)


def _way_of(
    network: torch.nn.Module, agent: AgentConfig, given: Sequence[Example]
) -> Callable[[Checkpoint], Checkpoint] | None:
    """How a ScriptModule is brought into the form of an agent; None for a network that is called as it is."""
    if not isinstance(network, torch.jit.ScriptModule):
        if agent.fix:
            raise ConfigError("fix: only arguments of a ScriptModule can be fixed; wrap the network instead")
        return None
    where = f"model {network.original_name}"
    archive = called(network, where, [item.name for item in given], agent.fix, reopened)
    names = archive.call.names
    if len(names) != len(given):
        raise CheckpointError(
            f"{where}: takes {len(names)} input(s) ({', '.join(names)}), but the example holds {len(given)}"
        )
    if archive.call.plain and not archive.kept:
        return None
    return lambda checkpoint: as_agent(checkpoint, archive, agent, Path(where))


def _first(read: Callable[[ExampleReading], Checkpoint], options: Sequence[ExampleReading]) -> Checkpoint:
    """The checkpoint of the first reading that fits; raises like that of the first."""
    refusals: list[CheckpointError | SignatureError] = []
    for option in options:
        try:
            return read(option)
        except (CheckpointError, SignatureError) as error:
            refusals.append(error)
    raise refusals[0]


def declared(
    checkpoint: Path,
    *,
    state: Mapping[str, Any] | None,
    outputs: Sequence[str],
    stepwise: bool,
    fix: Mapping[str, Any] | None,
) -> AgentConfig:
    """The configuration of an agent that was described in Python; raises ConfigError for what makes none."""
    given = {
        "state": dict(state or {}),
        "outputs": tuple(outputs),
        "stepwise": stepwise,
        "fix": dict(fix or {}),
    }
    try:
        return AgentConfig.model_validate({"checkpoint": checkpoint, **given})
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
