"""Archives that have methods beside `forward`, or none of that name: one of them as what is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from grandopt.compiler.scripted.forward import other_methods
from grandopt.errors import CheckpointError, first_line

INSIDE = "network"
"""The name that the archive has in the one around it, and that what it keeps begins with."""


def as_forward(
    module: torch.jit.ScriptModule, method: str, others: Sequence[str] = ()
) -> torch.jit.ScriptModule:
    """An archive whose `forward` calls `method` of this one, and which has those of its methods in `others`.

    Its arguments, their defaults included, are those of the method. Raises CheckpointError where there is no
    such method, and where its arguments are of classes that the archive defines itself.
    """
    if method == "forward":
        return module
    known = other_methods(module)
    if method not in known:
        raise CheckpointError(f"has no method {method!r}; its methods: {', '.join(('forward', *known))}")
    holder = torch.nn.Module()
    setattr(holder, INSIDE, module)
    made: Any = torch.jit.script(holder)
    for name, called in (("forward", method), *((name, name) for name in others if name in known)):
        try:
            made.define(_code(name, called, getattr(module, called).schema.arguments[1:]))
        except RuntimeError as error:
            raise CheckpointError(
                f"its method {called!r} takes what cannot be written down here ({first_line(error)}); export "
                f"a module whose forward calls it"
            ) from error
    archive: torch.jit.ScriptModule = made.eval()
    return archive


def _code(name: str, called: str, arguments: Sequence[Any]) -> str:
    taken = [
        f"{argument.name}: {argument.type.annotation_str}"
        + (f" = {argument.default_value!r}" if argument.has_default_value() else "")
        for argument in arguments
    ]
    given = ", ".join(argument.name for argument in arguments)
    return f"def {name}({', '.join(['self', *taken])}):\n    return self.{INSIDE}.{called}({given})\n"
