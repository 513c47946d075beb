"""A program that takes its tensors by keyword or in containers, called with one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree


class OneByOne(torch.nn.Module):
    """A module called as `spec` says, with tensors in the order in which its graph takes them."""

    def __init__(self, module: torch.nn.Module, spec: pytree.TreeSpec) -> None:
        super().__init__()
        self.module = module
        self.spec = spec

    def forward(self, *inputs: torch.Tensor) -> Any:
        """What the module returns."""
        args, kwargs = pytree.tree_unflatten(inputs, self.spec)
        return self.module(*args, **kwargs)


def positional(spec: pytree.TreeSpec) -> bool:
    """Whether a call of this form takes tensors one by one, and nothing by keyword."""
    args, kwargs = pytree.tree_unflatten([_LEAF] * spec.num_leaves, spec)
    return not kwargs and all(item is _LEAF for item in args)


_LEAF = object()
