"""The operators that a compiled TorchScript module calls, as torch itself resolved them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from grandopt.compiler.checkpoints.torchscript.code import METHODS
from grandopt.compiler.checkpoints.vetting import operators
from grandopt.errors import UntrustedError


def require_allowed(module: torch.jit.ScriptModule, where: str) -> None:
    """Raise UntrustedError naming the first operator of any method that is not among those that only compute.

    What the code says was checked before it was compiled; this is what came out, with every call resolved.
    """
    seen = set()
    for part in module.modules():
        if not isinstance(part, torch.jit.ScriptModule):
            continue
        compiled: Any = part._c
        if compiled.qualified_name in seen:
            continue
        seen.add(compiled.qualified_name)
        for name in compiled._method_names():
            graph = compiled._get_method(name).inlined_graph
            for node in _nodes(graph):
                _require_node(node, name, where)


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _require_node(node: Any, method: str, where: str) -> None:
    namespace, _, name = node.kind().partition("::")
    if namespace == "prim" and name == "CallMethod" and node.s("name") in METHODS:
        return
    if not operators.allowed(namespace, name) or name == "CallMethod":
        raise UntrustedError(
            f"{where}: calls the operator '{namespace}::{name}' in {method!r}, which is not among those that "
            f"only compute; pass --trust (or `trust: true`) only if you know who made it"
        )
