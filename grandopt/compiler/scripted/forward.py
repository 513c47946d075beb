"""What an archive's `forward` takes, and the forms of archives that are no agent as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from grandopt.compiler.scripted.effects import Effect, effects
from grandopt.errors import CheckpointError

TENSORS = ("Tensor", "Optional[Tensor]")
SHOWN = 4


def input_names(module: torch.jit.ScriptModule, given: int = 0) -> tuple[str, ...]:
    """The tensors that `forward` is given, in order: those it must be, and optional ones up to `given`.

    Other arguments keep their default. Raises CheckpointError for an archive without `forward`, and for one
    that takes anything but tensors.
    """
    arguments = _arguments(module)
    required = [argument for argument in arguments if not argument.has_default_value()]
    if given > len(required) and all(str(item.type) in TENSORS for item in arguments[:given]):
        required = list(arguments[:given])
    for argument in required:
        if str(argument.type) not in TENSORS:
            raise CheckpointError(
                f"forward takes {argument.name!r} as {_kind(argument.type)}; an agent's inputs are tensors, "
                f"one by one; export a wrapper that takes tensors and passes {argument.name!r} on"
            )
    return tuple(argument.name for argument in required)


def defaults(module: torch.jit.ScriptModule, given: int) -> dict[str, Any]:
    """The arguments of `forward` after the first `given`, which keep their default value, by name."""
    return {argument.name: argument.default_value for argument in _arguments(module)[given:]}


def other_methods(module: torch.jit.ScriptModule) -> tuple[str, ...]:
    """The methods beside `forward`, which are no part of an artifact."""
    return tuple(name for name in module._c._method_names() if name != "forward" and name[:2] != "__")


def require_answers_alone(module: torch.jit.ScriptModule, given: int) -> None:
    """Raise CheckpointError for a `forward` that keeps something between calls, or draws random numbers.

    `given` says how many arguments a call has; the others keep their defaults.
    """
    found = effects(module, given)
    if found.written:
        names = _listed(found.written)
        raise CheckpointError(
            f"forward writes {names}: the network keeps state in itself between calls, which an artifact "
            f"cannot; export it with that as an input and an output, and name the two in 'state' of the agent"
        )
    if found.drawn:
        raise CheckpointError(
            f"forward draws random numbers ({_listed(found.drawn)}), so one observation has many answers; "
            f"export the network without sampling: its mean or arg max (often `deterministic=True`)"
        )


def _arguments(module: torch.jit.ScriptModule) -> Sequence[Any]:
    if "forward" not in module._c._method_names():
        known = ", ".join(other_methods(module)) or "none"
        raise CheckpointError(
            f"the TorchScript archive has no forward method (its methods: {known}); export a module whose "
            f"forward computes the action"
        )
    forward: Any = module.forward
    arguments: Sequence[Any] = forward.schema.arguments[1:]
    return arguments


def _kind(found: Any) -> str:
    return str(found).replace("Tensor", "tensor") if "[" in str(found) else f"a {found}"


def _listed(found: Sequence[Effect]) -> str:
    shown = [f"{effect.what!r}{effect.place}" for effect in found[:SHOWN]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
