"""The graph of a file as one list of nodes over one set of names.

Functions of the file are put in place of their calls, constants of inner graphs stand beside those of the
outer one, and what no output needs is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from grandopt import limits
from grandopt.compiler.checkpoints.onnx import document
from grandopt.compiler.checkpoints.onnx.call import Value
from grandopt.compiler.checkpoints.onnx.document import Node, Reference, Tensor, ValueInfo
from grandopt.compiler.checkpoints.onnx.tensors import Constants
from grandopt.errors import CheckpointError

OLDEST, NEWEST = 7, 28
"""Opsets that the translations were written for."""

DEEPEST = 20
"""Functions, or inner graphs, inside one another."""


@dataclass(frozen=True)
class Body:
    """Nodes in the order in which they can be computed, and the names that go in and come out."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What of a file is computed. `constants` are those that are needed, by name."""

    body: Body
    constants: Mapping[str, Tensor]
    opset: int
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]


def plan(model: document.Model, constants: Constants, outputs: Sequence[str] = ()) -> Plan:
    """The plan for the outputs of these names, in this order, or for all.

    Raises CheckpointError for a graph that is none: cyclic, with names that nothing makes or that are made
    twice, of an opset or a domain that is not known here.
    """
    where = str(constants.path)
    opset = _opset(model, where)
    graph = model.graph
    if graph.sparse:
        raise CheckpointError(f"{where}: holds sparse constants, which are not computed with here")
    known = {info.name: info for info in graph.outputs}
    missing = [name for name in outputs if name not in known]
    if missing:
        raise CheckpointError(
            f"{where}: there is no output {missing[0]!r}; the outputs are {', '.join(known)}"
        )
    kept = tuple(known[name] for name in outputs) if outputs else graph.outputs
    if not kept:
        raise CheckpointError(f"{where}: the graph has no outputs")
    flat = _Flattened(model, constants)
    scope = {item.name: item.name for item in graph.constants}
    flat.constants.update({item.name: item for item in graph.constants})
    inputs = tuple(info for info in graph.inputs if info.name not in scope)
    scope |= {info.name: info.name for info in inputs}
    nodes = flat.nodes(graph.nodes, scope, "")
    made = tuple(flat.resolved(scope, info.name, "the graph") for info in kept)
    live = _live(nodes, made)
    needed = {name for node in live for name in uses(node)} | set(made)
    used = {name: item for name, item in flat.constants.items() if name in needed}
    return Plan(Body(live, tuple(info.name for info in inputs), made), used, opset, inputs, kept)


def _opset(model: document.Model, where: str) -> int:
    found = model.opsets.get("", model.opsets.get("ai.onnx"))
    if found is None:
        raise CheckpointError(f"{where}: is a truncated or damaged ONNX file: it states no opset")
    if not OLDEST <= found <= NEWEST:
        raise CheckpointError(
            f"{where}: is of opset {found}, and {OLDEST} to {NEWEST} are read; convert it with "
            f"onnx.version_converter"
        )
    return found


def uses(node: Node) -> Iterator[str]:
    """The names that a node reads, also from within its inner graphs."""
    yield from (name for name in node.inputs if name)
    for value in node.attributes.values():
        if isinstance(value, Body):
            yield from value.outputs
            for inner in value.nodes:
                yield from uses(inner)


def _live(nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that an output needs, in order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(uses(node))
            kept.append(node)
    return tuple(reversed(kept))


@dataclass
class _Flattened:
    """Gives every name of the file one of its own. `scope` maps the names of a graph to these."""

    model: document.Model
    where: Constants
    constants: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def nodes(self, nodes: Sequence[Node], scope: dict[str, str], prefix: str) -> list[Node]:
        """The nodes of one graph, functions in place of calls; `scope` gets the names that they make."""
        if prefix.count("/") > DEEPEST:
            raise self._error(f"functions or graphs more than {DEEPEST} levels deep")
        made: list[Node] = []
        for node in nodes:
            self.count += 1
            if self.count > limits.NODES:
                raise self._error(f"more than {limits.NODES:,} calls of operators")
            function = self._function(node)
            inputs = tuple(self.resolved(scope, name, node.label) if name else "" for name in node.inputs)
            if function is not None:
                made += self._called(function, node, inputs, scope, f"{prefix}{self.count}/")
                continue
            if node.domain:
                raise self._error(f"operator {node.domain}.{node.label}, of a domain that is not read here")
            inner = f"{prefix}{self.count}/"
            attributes = {
                name: self._attribute(value, scope, inner) for name, value in node.attributes.items()
            }
            outputs = tuple(self._named(scope, name, prefix) if name else "" for name in node.outputs)
            made.append(replace(node, inputs=inputs, outputs=outputs, attributes=attributes))
        return made

    def resolved(self, scope: Mapping[str, str], name: str, reader: str) -> str:
        """The name of its own; raises CheckpointError for one that nothing has made before."""
        if name not in scope:
            raise CheckpointError(
                f"{self.where.path}: {reader} reads {name!r}, which no constant, input or earlier node "
                f"gives: the graph is cyclic, not in order, or damaged"
            )
        return scope[name]

    def _named(self, scope: dict[str, str], name: str, prefix: str) -> str:
        own = f"{prefix}{name}"
        if scope.get(name) == own:
            raise self._error(f"two nodes that give {name!r}")
        scope[name] = own
        return own

    def _attribute(self, value: Any, scope: Mapping[str, str], prefix: str) -> Any:
        if isinstance(value, Tensor):
            return Value.of(self.where.tensor(value))
        if not isinstance(value, document.Graph):
            return value
        own = dict(scope)
        for item in value.constants:
            own[item.name] = f"{prefix}{item.name}"
            self.constants[own[item.name]] = item
        inputs = tuple(f"{prefix}{info.name}" for info in value.inputs)
        own |= {info.name: name for info, name in zip(value.inputs, inputs, strict=True)}
        nodes = self.nodes(value.nodes, own, prefix)
        outputs = tuple(self.resolved(own, info.name, "an inner graph") for info in value.outputs)
        return Body(tuple(nodes), inputs, outputs)

    def _function(self, node: Node) -> document.Function | None:
        return next(
            (item for item in self.model.functions if (item.domain, item.name) == (node.domain, node.op)),
            None,
        )

    def _called(
        self,
        function: document.Function,
        node: Node,
        inputs: tuple[str, ...],
        scope: dict[str, str],
        prefix: str,
    ) -> list[Node]:
        """The nodes of a function that the file defines, for one call of it."""
        own = dict(zip(function.inputs, inputs, strict=False))
        given = {**function.defaults, **node.attributes}
        bodies = [
            replace(
                item, attributes=_filled(item.attributes, given), inputs=_without(item.inputs, own, function)
            )
            for item in function.nodes
        ]
        made = self.nodes(bodies, own, prefix)
        for name, result in zip(node.outputs, function.outputs, strict=False):
            if name:
                scope[name] = self.resolved(own, result, node.label)
        return made

    def _error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.where.path}: has {what}")


def _filled(attributes: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with those that refer to the call's in their place."""
    named = {
        name: given.get(value.name) if isinstance(value, Reference) else value
        for name, value in attributes.items()
    }
    return {name: value for name, value in named.items() if value is not None}


def _without(inputs: tuple[str, ...], own: Mapping[str, str], function: document.Function) -> tuple[str, ...]:
    """Inputs of a function's node, left out where the call leaves out the function's own."""
    left_out = {name for name in function.inputs if not own.get(name)}
    return tuple("" if name in left_out else name for name in inputs)
