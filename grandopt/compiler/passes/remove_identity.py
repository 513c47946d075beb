"""Remove the layers that do nothing in eval mode: dropout and identities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from grandopt.compiler.program import Program, copied

NAME = "remove_identity"

DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


class ShortenedSequential(nn.Sequential):
    """A Sequential that calls only some of its layers; all keep their names and positions.

    A network may read a layer by its index, and a state dict by its name: neither changes.
    """

    def __init__(self, whole: nn.Sequential, idle: Iterable[str]) -> None:
        super().__init__()
        for name, layer in whole.named_children():
            self.add_module(name, layer)
        left_out = set(idle)
        self._called = tuple(name for name in self._modules if name not in left_out)
        self.train(whole.training)

    def forward(self, input: Any) -> Any:
        for name in self._called:
            input = self._modules[name](input)
        return input


class IdleDropout(nn.Identity):
    """A dropout of eval mode; `p` stays, because networks hand it to attention functions."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p


def apply(program: Program) -> Program:
    """The program without idle layers; the same program where there are none.

    In a Sequential they are not called any more, elsewhere a dropout becomes an identity. `exported` and
    `traced` of a changed program are None, to be captured anew.
    """
    if isinstance(program.module, torch.jit.ScriptModule):
        return program
    root = nn.ModuleDict({"network": copied(program.module)})
    replaced = False
    for name, layer in list(root.named_modules(remove_duplicate=False)):
        lighter = _lighter(layer)
        if lighter is not None:
            root.set_submodule(name, lighter)
            replaced = True
    return program.after(NAME, module=root["network"], exported=None, traced=None) if replaced else program


def _lighter(layer: nn.Module) -> nn.Module | None:
    """What does the same as `layer` with less, or None."""
    if type(layer) is nn.Sequential:
        idle = [name for name, child in layer.named_children() if _is_idle(child)]
        return ShortenedSequential(layer, idle) if idle and not _has_hooks(layer) else None
    if isinstance(layer, DROPOUTS) and _is_idle(layer):
        return IdleDropout(layer.p).eval()
    return None


def _is_idle(layer: nn.Module) -> bool:
    return (
        type(layer) in (nn.Identity, IdleDropout, *DROPOUTS) and not layer.training and not _has_hooks(layer)
    )


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)
