"""An open archive and how its `forward` is called: its inputs, what it keeps, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints.settings import configured_inputs
from grandopt.compiler.scripted.arguments import Arguments
from grandopt.compiler.scripted.forward import attribute, call_of, flags, other_methods, written
from grandopt.config.schema import AgentConfig
from grandopt.errors import CaptureError, CheckpointError
from grandopt.signature import TensorSpec

GATES = {"LSTM": (4, 2), "GRU": (3, 1), "RNN": (1, 1)}
"""Rows of a recurrent layer's weights for each number of its state, and how many tensors that state has."""


@dataclass(frozen=True)
class Archive:
    """An open archive: how its `forward` is called, and which attributes that writes (`kept`, by path).

    `copied` gives the same archive anew.
    """

    module: torch.jit.ScriptModule
    call: Arguments
    kept: tuple[str, ...]
    copied: Callable[[torch.jit.ScriptModule], torch.jit.ScriptModule]

    def left_out(self) -> dict[str, str]:
        """What the archive has beside the call that becomes the artifact, in words."""
        said = {}
        if self.call.fixed:
            said["defaults"] = ", ".join(f"{name}={value}" for name, value in self.call.fixed.items())
        return {**said, **left_out(self.module)}

    def inputs(self, agent: AgentConfig, path: Path, dtype: str) -> tuple[TensorSpec, ...]:
        """The configured inputs; the state of recurrent layers need not be among them.

        Raises CheckpointError like `configured_inputs`, and for inputs from a dict under other names.
        """
        names = self.call.names
        recurrent = memory(self.module)
        missing = len(names) - len(agent.inputs)
        if agent.inputs and 0 < missing == len(recurrent):
            found = configured_inputs(agent, path, names[:-missing], dtype)
            rest = zip(names[-missing:], recurrent, strict=True)
            specs = (*found, *(TensorSpec(name, shape, dtype) for name, shape in rest))
        else:
            specs = configured_inputs(agent, path, names, dtype)
        for name, spec in zip(names, specs, strict=True):
            if name in self.call.keyed and spec.name not in (name, name.rpartition(".")[2]):
                raise CheckpointError(
                    f"{path}: the network takes its inputs by name: declare them as {', '.join(names)}, in "
                    f"that order, got {', '.join(spec.name for spec in specs)}"
                )
        return specs


def called(
    module: torch.jit.ScriptModule,
    where: str,
    declared: Sequence[str] = (),
    fix: Mapping[str, Any] | None = None,
    copied: Callable[[torch.jit.ScriptModule], torch.jit.ScriptModule] = lambda module: module,
) -> Archive:
    """The archive with the call whose inputs are `declared`, with the arguments in `fix` fixed.

    Raises CheckpointError, `where` in front, for an archive that is no agent (see `scripted.forward`).
    """
    try:
        call = call_of(module, declared, fix)
        return Archive(module, call, written(module, call), copied)
    except (CheckpointError, CaptureError) as error:
        raise CheckpointError(f"{where}: {error}") from error


def left_out(module: torch.jit.ScriptModule, method: str = "forward") -> dict[str, str]:
    """The methods of an archive beside the one that is called, in words; {} where there are none."""
    names = [name for name in ("forward", *other_methods(module)) if name != method]
    methods = [name for name in names if name in module._c._method_names()]
    return {"left_out": f"the archive's other methods ({', '.join(methods)})"} if methods else {}


def facts(module: torch.jit.ScriptModule, where: str) -> dict[str, Any]:
    """What an archive takes and keeps, JSON-able: `inputs`, and where there are any `flags`, `state` and
    `methods`; the last alone for an archive without `forward`."""
    methods: dict[str, Any] = {"methods": list(other_methods(module))} if other_methods(module) else {}
    if methods and "forward" not in module._c._method_names():
        return methods
    try:
        known = flags(module)
        call = call_of(module, fix=known)
    except (CheckpointError, CaptureError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    said: dict[str, Any] = {"inputs": list(call.names), **methods}
    if known:
        said["flags"] = list(known)
    try:
        kept = written(module, call)
    except (CheckpointError, CaptureError):
        return said  # loading says it
    if kept:
        values = [(path, attribute(module, path)) for path in kept]
        said["state"] = [{"name": path, "shape": list(value.shape)} for path, value in values]
    return said


def memory(module: torch.jit.ScriptModule) -> list[tuple[int, int]]:
    """The shapes [layers, size] of the state of recurrent layers, in order, once for each of its tensors."""
    shapes: list[tuple[int, int]] = []
    for part in module.modules():
        own = dict(part.named_parameters(recurse=False))
        kind = getattr(part, "original_name", "")
        if kind not in GATES or "weight_hh_l0" not in own or "weight_hr_l0" in own:
            continue
        rows, size = own["weight_hh_l0"].shape
        layers = sum(name.startswith("weight_hh_l") for name in own)
        gates, tensors = GATES[kind]
        if rows == gates * size:
            shapes += [(layers, size)] * tensors
    return shapes
