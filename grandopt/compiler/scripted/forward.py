"""What an archive's `forward` takes, and the forms of archives that are no agent as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from grandopt.compiler.scripted.arguments import FLAGS, Arguments, arguments
from grandopt.compiler.scripted.effects import Effect, effects
from grandopt.errors import CheckpointError

SHOWN = 4


def call_of(
    module: torch.jit.ScriptModule, declared: Sequence[str] = (), fix: Mapping[str, Any] | None = None
) -> Arguments:
    """How `forward` is called (see `arguments`).

    Raises CheckpointError for an archive without `forward`, and like `arguments`.
    """
    return arguments(module, _arguments(module), declared, fix)


def flags(module: torch.jit.ScriptModule) -> dict[str, Any]:
    """The arguments of `forward` that can be fixed, by name, with their default or a value of their kind."""
    return {
        argument.name: argument.default_value if argument.has_default_value() else FLAGS[kind]()
        for argument in _arguments(module)
        if (kind := argument.type.kind()) in FLAGS
    }


def other_methods(module: torch.jit.ScriptModule) -> tuple[str, ...]:
    """The methods beside `forward`, which are no part of an artifact."""
    return tuple(name for name in module._c._method_names() if name != "forward" and name[:2] != "__")


def written(module: torch.jit.ScriptModule, call: Arguments) -> tuple[str, ...]:
    """The attributes that a call writes, by path: what the network keeps from one call to the next.

    Raises CheckpointError for one that is no tensor, and for a `forward` that draws random numbers.
    """
    found = effects(module, call.fixed)
    if found.drawn:
        raise CheckpointError(
            f"forward draws random numbers ({_listed(found.drawn)}), so one observation has many answers; "
            f"export the network without sampling: its mean or arg max (often `deterministic=True`)"
        )
    for effect in found.written:
        value = attribute(module, effect.what)
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"forward writes {effect.what!r}{effect.place}, which holds {type(value).__name__} and no "
                f"tensor: what an agent remembers must be tensors; keep it in a buffer, or "
                f"take it as an input and give its next value"
            )
    order = [name for name, _ in module.named_buffers()]
    paths = [effect.what for effect in found.written]
    return tuple(sorted(paths, key=lambda path: (order.index(path) if path in order else len(order), path)))


def silenced(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The same module, which prints nothing from now on."""
    for part in module.modules():
        inner: Any = getattr(part, "_c", None)  # there is no public way to the graphs of all methods
        for name in () if inner is None else inner._method_names():
            for node in inner._get_method(name).graph.findAllNodes("prim::Print", recurse=True):
                node.destroy()
    return module


def attribute(module: torch.jit.ScriptModule, path: str) -> Any:
    """What an archive holds at the dotted `path`."""
    owner, name = owner_of(module, path)
    return getattr(owner, name)


def owner_of(module: Any, path: str) -> tuple[Any, str]:
    """The part of an archive that holds what is at the dotted `path`, and its name there."""
    *parts, name = path.split(".")
    for part in parts:
        module = getattr(module, part)
    return module, name


def _arguments(module: torch.jit.ScriptModule) -> Sequence[Any]:
    if "forward" not in module._c._method_names():
        known = ", ".join(other_methods(module)) or "none"
        raise CheckpointError(
            f"the TorchScript archive has no forward method (its methods: {known}); choose one of them "
            f"with `method` (--method), or export a module whose forward computes the action"
        )
    forward: Any = module.forward
    arguments: Sequence[Any] = forward.schema.arguments[1:]
    return arguments


def _listed(found: Sequence[Effect]) -> str:
    shown = [f"{effect.what!r}{effect.place}" for effect in found[:SHOWN]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
