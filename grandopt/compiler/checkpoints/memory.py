"""An agent that is already in memory: a module and one batch of its inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.recurrence import recurrent
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, ConfigError, SignatureError, first_line
from grandopt.signature import TensorSpec


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
    input names to them, in calling order. `state`, `outputs` and `stepwise` are those of `AgentConfig`.
    Raises CheckpointError when `model` is not a module or cannot be copied, SignatureError when the example
    has no batch dimension or the state does not fit.
    """
    if not isinstance(model, torch.nn.Module):
        raise CheckpointError(f"expected a torch.nn.Module, got {type(model).__name__}")
    declared = _declared(name, state or {}, outputs, stepwise=stepwise)
    axes = {key: item.batch_axis for key, item in declared.state.items()}
    inputs = tuple(_spec(key, value, axes.get(key, 0)) for key, value in _named(example_input))
    if not inputs:
        raise SignatureError("example_input holds no input")
    checkpoint = Checkpoint(
        name=name,
        module=_frozen_copy(model),
        inputs=inputs,
        source=Source(format="memory", weights="memory", details={"class": type(model).__qualname__}),
    )
    return recurrent(checkpoint, declared)


def _declared(name: str, state: Mapping[str, Any], outputs: Sequence[str], *, stepwise: bool) -> AgentConfig:
    try:
        return AgentConfig.model_validate(
            {
                "checkpoint": Path(f"<memory:{name}>"),
                "state": dict(state),
                "outputs": tuple(outputs),
                "stepwise": stepwise,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "state"
        raise ConfigError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _frozen_copy(model: torch.nn.Module) -> torch.nn.Module:
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError, copy.Error) as error:
        raise CheckpointError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error
    twin = twin.to("cpu").eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


def _named(example: Any) -> Sequence[tuple[str, Any]]:
    if isinstance(example, Mapping):
        return [(str(key), value) for key, value in example.items()]
    if isinstance(example, tuple | list):
        return [(f"input_{index}", value) for index, value in enumerate(example)]
    return [("input", example)]


def _spec(name: str, value: Any, batch_axis: int = 0) -> TensorSpec:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.ndim == 0:
        raise SignatureError(f"{name}: the example needs a batch dimension in front, got a single number")
    if batch_axis >= array.ndim:
        raise SignatureError(
            f"state {name!r}: batch_axis {batch_axis} is beyond its {array.ndim} dimension(s)"
        )
    shape = tuple(size for axis, size in enumerate(array.shape) if axis != batch_axis)
    return TensorSpec(name, shape, str(array.dtype))
