"""Plain stacks of dense layers in a tree of Flax, found by their kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks.flax import layers
from grandopt.errors import CheckpointError

PARAMETERS = "params"
"""Under which Flax keeps the parameters of a module; left out of the names of places."""

OPTIMIZER = frozenset({"opt_state", "target_params"})
"""Parts of a training state that hold further arrays of the shape of a network's."""


@dataclass(frozen=True)
class Network:
    """The dense layers at one place of a tree, in the order of the numbers in their names.

    `strange` names a part there that is no dense layer, None for a plain stack.
    """

    place: str
    names: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    strange: str | None

    @property
    def ends(self) -> tuple[int, int]:
        """How many numbers it takes and gives, where its kernels are matrices."""
        first, last = (self.tensors[f"{name}.kernel"].shape for name in (self.names[0], self.names[-1]))
        return first[0], last[1]

    def linear(self, where: str) -> list[nn.Linear]:
        """Its layers; raises CheckpointError where it is no plain stack, or they do not fit each other."""
        at = f"{where} at {self.place}" if self.place else where
        if self.strange is not None:
            raise CheckpointError(
                f"{at}: {self.strange!r:.60} is no dense layer, or its name does not say where it stands; "
                f"only plain stacks are read: export the policy as ONNX, and name that file"
            )
        found = [layers.linear(self.tensors, name, at) for name in self.names]
        for before, layer in pairwise(found):
            if before.out_features != layer.in_features:
                raise CheckpointError(
                    f"{at}: a layer gives {before.out_features} numbers, the next takes {layer.in_features}"
                )
        return found

    def spelled(self) -> str:
        """The layers in words."""
        shapes = (tuple(self.tensors[f"{name}.kernel"].shape) for name in self.names)
        return ", ".join(f"Linear{shape}" for shape in shapes)


def networks(tree: Mapping[str, Any], where: str) -> list[Network]:
    """Every place of the tree with dense layers; those of an optimizer are none."""
    return list(_networks(tree, (), where))


def _networks(tree: Mapping[str, Any], place: tuple[str, ...], where: str) -> Iterator[Network]:
    dense = [name for name, item in tree.items() if _kernel(item) is not None]
    if dense:
        yield _network(tree, dense, place, where)
        return
    for name, item in tree.items():
        if isinstance(item, Mapping) and name not in OPTIMIZER:
            yield from _networks(item, place if name == PARAMETERS else (*place, name), where)


def _kernel(item: Any) -> Any:
    kernel = item.get("kernel") if isinstance(item, Mapping) else None
    return kernel if isinstance(kernel, np.ndarray) else None


def _network(tree: Mapping[str, Any], dense: list[str], place: tuple[str, ...], where: str) -> Network:
    """The layers named `dense` of one module."""
    plain = {re.sub(r"\d+", "", name) for name in dense}
    numbers = {name: [int(part) for part in re.findall(r"\d+", name)] for name in dense}
    strange = next((name for name in tree if name not in dense), None)
    if len(plain) > 1:
        strange = strange or dense[-1]
    tensors = {}
    for name in dense:
        for part, item in tree[name].items():
            if part not in ("kernel", "bias") or not isinstance(item, np.ndarray):
                strange = strange or f"{name}.{part}"
                continue
            tensors[f"{name}.{part}"] = layers.tensor(item, f"{name}.{part}", where)
    return Network(".".join(place), tuple(sorted(dense, key=numbers.__getitem__)), tensors, strange)
