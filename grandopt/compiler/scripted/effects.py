"""What a call of an archive's `forward` does beside giving an answer: what it keeps, and what it draws.

Read from the graph, not found by comparing answers: what is kept may change the answer late, or by little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from grandopt.compiler.scripted.graph import Attributes, declaration, forward_graph, line_of, names, nodes
from grandopt.compiler.scripted.scalars import NUMBERS, PLAIN

CHANGES = frozenset(
    {"aten::append", "aten::extend", "aten::_set_item", "aten::insert", "aten::clear", "aten::pop"}
)
"""What changes a list or a dict without saying so in its declaration."""

HOLDERS = frozenset(
    {
        "prim::TupleConstruct",
        "prim::ListConstruct",
        "prim::DictConstruct",
        "prim::TupleUnpack",
        "prim::ListUnpack",
        "prim::TupleIndex",
        "prim::unchecked_cast",
        "aten::__getitem__",
        "aten::list",
        "aten::values",
    }
)
"""What puts tensors into something or takes them out again; the tensors stay the same."""

SWITCHES = ("train", "training")


@dataclass(frozen=True)
class Effect:
    """Something that `forward` does: with which attribute or operator, and where its code stands."""

    what: str
    place: str


@dataclass(frozen=True)
class Effects:
    """The attributes that `forward` writes, and the random numbers that it draws, each named once."""

    written: tuple[Effect, ...]
    drawn: tuple[Effect, ...]


def effects(module: torch.jit.ScriptModule, fixed: Mapping[str, Any]) -> Effects:
    """What a call does with the arguments in `fixed` as they are there, branches that they rule out left out.

    Raises CaptureError where a part of the network is chosen while it runs.
    """
    reader = _Reader(module, fixed)
    reader.read()
    return Effects(tuple(_once(reader.written)), tuple(_once(reader.drawn)))


def _once(found: list[Effect]) -> Iterator[Effect]:
    yield from {effect.what: effect for effect in reversed(found)}.values()


class _Reader:
    """One pass over a graph: which values are constants, and which may be tensors of the network."""

    def __init__(self, module: torch.jit.ScriptModule, fixed: Mapping[str, Any]) -> None:
        self._graph = forward_graph(module)
        self._attributes = Attributes(module, self._graph)
        self._constants: dict[str, Any] = {}
        self._roots: dict[str, frozenset[str]] = {}
        self._set = {node.s("name") for node in nodes(self._graph) if node.kind() == "prim::SetAttr"}
        forward: Any = module.forward
        arguments = forward.schema.arguments
        for name, argument in zip(names(self._graph.inputs()), arguments, strict=True):
            if argument.name in fixed:
                self._constants[name] = fixed[argument.name]
        self.written: list[Effect] = []
        self.drawn: list[Effect] = []

    def read(self) -> None:
        self._block(self._graph)

    def _block(self, block: Any) -> None:
        for node in block.nodes():
            match node.kind():
                case "prim::Constant":
                    self._constants[node.output().debugName()] = node.output().toIValue()
                case "prim::GetAttr":
                    self._got(node)
                case "prim::SetAttr":
                    owner = self._attributes[next(iter(node.inputs())).debugName()].path
                    self._writes(f"{owner}.{node.s('name')}".lstrip("."), node)
                case "prim::If":
                    self._branch(node)
                case "prim::Loop":
                    self._loop(node)
                case kind:
                    self._operator(kind, node)

    def _got(self, node: Any) -> None:
        name = node.output().debugName()
        attribute = self._attributes[name]
        if attribute.is_module:
            return
        self._roots[name] = frozenset({attribute.path})
        if node.s("name") not in self._set and not isinstance(attribute.value, torch.Tensor | list | dict):
            self._constants[name] = attribute.value

    def _branch(self, node: Any) -> None:
        condition = node.input().debugName()
        blocks = list(node.blocks())
        if condition in self._constants:
            blocks = blocks[:1] if self._constants[condition] else blocks[1:]
        for block in blocks:
            self._block(block)
            self._handed_on(names(block.outputs()), names(node.outputs()))
        if len(blocks) == 1:
            for inner, outer in zip(names(blocks[0].outputs()), names(node.outputs()), strict=True):
                if inner in self._constants:
                    self._constants[outer] = self._constants[inner]

    def _loop(self, node: Any) -> None:
        (body,) = node.blocks()
        carried = names(body.inputs())[1:]
        self._handed_on(names(node.inputs())[2:], carried)
        for _ in range(2):  # what one round puts into a carried value, the next one may write to
            self._block(body)
            self._handed_on(names(body.outputs())[1:], carried)
        self._handed_on(carried, names(node.outputs()))

    def _handed_on(self, sources: list[str], targets: list[str]) -> None:
        for source, target in zip(sources, targets, strict=True):
            self._roots[target] = self._roots.get(target, frozenset()) | self._roots.get(source, frozenset())

    def _operator(self, kind: str, node: Any) -> None:
        inputs, outputs = names(node.inputs()), names(node.outputs())
        if kind in HOLDERS:
            together = frozenset[str]().union(*(self._roots.get(name, frozenset()) for name in inputs))
            self._roots.update(dict.fromkeys(outputs, together))
        if kind in CHANGES:
            for root in self._roots.get(inputs[0], frozenset()):
                self._writes(root, node)
        self._folded(kind, inputs, outputs)
        declared = declaration(node)
        if declared is None or kind in HOLDERS:
            return
        for argument, name in zip(declared.arguments, inputs, strict=False):  # some take any number more
            if argument.alias_info is None:
                continue
            roots = self._roots.get(name, frozenset())
            if argument.alias_info.is_write:
                for root in roots:
                    self._writes(root, node)
            # What may share memory with an argument may be one of its views, also where a list holds them.
            self._handed_on([name] * len(outputs), outputs)
        if _is_random(kind, declared) and not self._switched_off(declared, inputs):
            self.drawn.append(Effect(kind.partition("::")[2], line_of(node)))

    def _folded(self, kind: str, inputs: list[str], outputs: list[str]) -> None:
        """Know what an operator gives where all that it takes is known and no tensor."""
        function = PLAIN.get(kind) or NUMBERS.get(kind)
        if function is None or kind in CHANGES or len(outputs) != 1:
            return
        if not all(name in self._constants for name in inputs):
            return
        values = [self._constants[name] for name in inputs]
        if any(isinstance(value, torch.Tensor | list | dict) for value in values):
            return
        self._constants[outputs[0]] = function(*values)

    def _switched_off(self, declared: Any, inputs: list[str]) -> bool:
        """Whether the operator draws only when training, and is told that it is not."""
        for argument, name in zip(declared.arguments, inputs, strict=False):
            if argument.name in SWITCHES:
                return self._constants.get(name) is False
        return False

    def _writes(self, path: str, node: Any) -> None:
        self.written.append(Effect(path, line_of(node)))


def _is_random(kind: str, declared: Any) -> bool:
    space, _, name = kind.partition("::")
    packet = getattr(getattr(torch.ops, space, None), name, None)
    overload = getattr(packet, declared.overload_name or "default", None)
    return overload is not None and torch.Tag.nondeterministic_seeded in overload.tags
