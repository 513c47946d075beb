"""An agent that is already in memory: a module and one batch of its inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.errors import CheckpointError, SignatureError, first_line
from grandopt.signature import TensorSpec


def from_module(name: str, model: torch.nn.Module, example_input: Any) -> Checkpoint:
    """A checkpoint of a module; the caller's module is copied and stays as it is.

    `example_input` is one batch: an array or tensor [B, *shape], a tuple or list of them, or a mapping from
    input names to them, in calling order. Raises CheckpointError when `model` is not a module or cannot be
    copied, SignatureError when the example has no batch dimension.
    """
    if not isinstance(model, torch.nn.Module):
        raise CheckpointError(f"expected a torch.nn.Module, got {type(model).__name__}")
    inputs = tuple(_spec(key, value) for key, value in _named(example_input))
    if not inputs:
        raise SignatureError("example_input holds no input")
    return Checkpoint(
        name=name,
        module=_frozen_copy(model),
        inputs=inputs,
        source=Source(format="memory", weights="memory", details={"class": type(model).__qualname__}),
    )


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


def _spec(name: str, value: Any) -> TensorSpec:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.ndim == 0:
        raise SignatureError(f"{name}: the example needs a batch dimension in front, got a single number")
    return TensorSpec(name, tuple(array.shape[1:]), str(array.dtype))
