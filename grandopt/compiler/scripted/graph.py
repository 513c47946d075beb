"""The graph of an archive's `forward`, and the attributes that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from grandopt.errors import CaptureError

DATA = ("TensorType", "OptionalType")
"""Kinds of TorchScript types that hold tensors; everything else is read as a plain value."""


def forward_graph(module: torch.jit.ScriptModule) -> Any:
    """The graph of `forward` with the methods that it calls put in their place."""
    return module.inlined_graph


def nodes(block: Any) -> Iterator[Any]:
    """All nodes of a graph, those within branches and loops included, in order."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes(inner)


def names(values: Any) -> list[str]:
    """The names by which a graph knows its values."""
    return [value.debugName() for value in values]


@lru_cache(maxsize=4096)
def parsed(schema: str) -> Any:
    """The declaration of an operator, as torch reads it."""
    return torch._C.parse_schema(schema)


def declaration(node: Any) -> Any | None:
    """The declaration of a node's operator; None for those of the language itself (`prim::If`)."""
    text = node.schema()
    return None if text.startswith("(") else parsed(text)


def line_of(node: Any) -> str:
    """Where the code of a node stands, as ` (policy.py:12)`; nothing where the archive does not say."""
    for text in node.sourceRange().splitlines():
        parts = text.strip().split('"')
        if text.strip().startswith("File") and len(parts) > 2:
            line = parts[2].removeprefix(", line ").split(",")[0].strip()
            return f" ({parts[1].rpartition('/')[2]}:{line})"
    return ""


def steps(graph: Any) -> Iterator[tuple[str, object]]:
    """A graph's nodes in order, each with the constant or attribute name it stands for."""
    for node in graph.nodes():
        kind = node.kind()
        if kind == "prim::Constant":
            yield kind, _constant(node.output().toIValue())
        else:
            yield kind, node.s("name") if kind == "prim::GetAttr" else None
        for block in node.blocks():
            yield from steps(block)


def _constant(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.tolist()
    return repr(value)


@dataclass(frozen=True)
class Attribute:
    """What `self.a.b` is in an archive: its path, and its value when `forward` begins."""

    path: str
    value: Any

    @property
    def is_module(self) -> bool:
        """Whether it is a part of the network rather than a value."""
        return isinstance(self.value, torch.jit.ScriptModule)


class Attributes:
    """The values that a graph reads from its network, by the names that the graph gives them.

    Raises CaptureError where a part of the network is chosen while it runs.
    """

    def __init__(self, module: torch.jit.ScriptModule, graph: Any) -> None:
        first = next(iter(graph.inputs())).debugName()
        self._found: dict[str, Attribute] = {first: Attribute("", module)}
        for node in nodes(graph):
            if node.kind() == "prim::GetAttr":
                name = node.output().debugName()
                self._found[name] = self._read(node.input().debugName(), node.s("name"))

    def __getitem__(self, name: str) -> Attribute:
        return self._found[name]

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def _read(self, owner: str, name: str) -> Attribute:
        holder = self._found.get(owner)
        if holder is None:
            raise CaptureError(f"the archive chooses while it runs which part {name!r} is of")
        value = getattr(holder.value, name)
        return Attribute(f"{holder.path}.{name}".lstrip("."), value)
