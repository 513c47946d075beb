"""What `torch.compile` and the parallel wrappers leave around a network, and in the names of its tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import torch

COMPILED = "_orig_mod"
PARALLEL = "module"
"""The parts of a tensor's dotted name that such a wrapper adds, wherever it stands in the network."""


def plain_name(key: str) -> str:
    """The name that a tensor has without wrappers."""
    return ".".join(part for part in key.split(".") if part not in (COMPILED, PARALLEL))


def matched(tensors: Mapping[str, torch.Tensor], wanted: Iterable[str]) -> Mapping[str, torch.Tensor]:
    """The tensors under the names in `wanted`, where the names differ by wrappers only.

    A name that is wanted as it is stays as it is. Otherwise, and where two tensors or two wanted names are
    the same without wrappers, nothing is renamed that would have to be guessed.
    """
    names = list(wanted)
    if set(names) == set(tensors):
        return tensors
    targets = _unambiguous(name for name in names if name not in tensors)
    sources = _unambiguous(key for key in tensors if key not in names)
    renamed = {sources[plain]: targets.get(plain, plain) for plain in sources}
    return {renamed.get(key, key): value for key, value in tensors.items()}


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """The network that wrappers were put around, its parts likewise; `network` itself is changed."""
    inner = _inner(network)
    for part in list(inner.modules()):
        for name, child in part.named_children():
            own = _inner(child)
            if own is not child:
                setattr(part, name, own)
    return inner


def _inner(network: torch.nn.Module) -> torch.nn.Module:
    while True:
        if _is_compiled(network):
            network = getattr(network, COMPILED)
        elif isinstance(network, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            network = network.module
        else:
            return network


def _is_compiled(network: torch.nn.Module) -> bool:
    # Who compiled a network has this module loaded; loading it takes seconds.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler is not None and isinstance(network, compiler.OptimizedModule)


def _unambiguous(keys: Iterable[str]) -> dict[str, str]:
    """Plain name to full name, without those that two full names share."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(plain_name(key), []).append(key)
    return {plain: full[0] for plain, full in found.items() if len(full) == 1}
