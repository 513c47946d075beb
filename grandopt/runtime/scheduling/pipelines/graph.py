"""From a graph as users write it to nodes in the order of their running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.pipelines.shapes import check_shapes
from grandopt.runtime.scheduling.pipelines.stage import (
    REQUEST,
    Agents,
    Node,
    Reference,
    Served,
    Source,
    Stage,
)
from grandopt.signature import TensorSpec

Plain = Stage | Mapping[str, Any] | str
GraphLike = Mapping[str, Plain] | Sequence[Plain]
"""Stages by name, or in a chain: a Stage, the mapping of its fields, or an agent's name alone."""


@dataclass(frozen=True)
class Graph:
    """`nodes`, each after those that it needs; and the inputs and outputs of the pipeline."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, TensorSpec | None]
    outputs: Mapping[str, tuple[Reference, ...]]


def graph_of(graph: GraphLike, agents: Agents, outputs: Mapping[str, Source] | None = None) -> Graph:
    """The checked graph; without `outputs` a pipeline gives those of the last stage.

    Raises ConfigError, which names both sides, for a graph that cannot be run: no stage, two of one name, an
    unknown stage, output or input, an input without a source, a circle, a stage whose outputs nobody uses,
    shapes or dtypes that do not fit; and UnknownAgentError.
    """
    chain = not isinstance(graph, Mapping)
    stages = _stages(graph)
    nodes: dict[str, Node] = {}
    before: Node | None = None
    for stage in stages:
        before = nodes[stage.name] = _node(stage, agents, before if chain else None)
    last = stages[-1].name
    wanted: dict[str, tuple[Reference, ...]] = {
        name: (Reference(last, name),) for name in nodes[last].outputs
    }
    if outputs is not None:
        wanted = {name: _references(source, f"output {name!r}") for name, source in outputs.items()}
        if not wanted:
            raise ConfigError("a pipeline needs an output")
    for node in nodes.values():
        for name, parts in node.inputs.items():
            _check_known(parts, nodes, f"stage {node.name!r}, input {name!r}")
    for name, parts in wanted.items():
        _check_known(parts, nodes, f"output {name!r}")
    ordered = _in_order(nodes)
    _check_used(nodes, wanted)
    return Graph(ordered, check_shapes(ordered), wanted)


def _stages(graph: GraphLike) -> list[Stage]:
    if isinstance(graph, Mapping):
        stages = [_stage(plain, str(name)) for name, plain in graph.items()]
        for key, stage in zip(graph, stages, strict=True):
            if stage.name != key:
                raise ConfigError(f"stage {stage.name!r} stands under the name {key!r}; give it one name")
    elif isinstance(graph, Sequence) and not isinstance(graph, str):
        stages = [_stage(plain, None) for plain in graph]
    else:
        raise ConfigError(f"a graph is a mapping or a list of stages, got {type(graph).__name__}")
    if not stages:
        raise ConfigError("a pipeline needs at least one stage")
    seen: set[str] = set()
    for stage in stages:
        if stage.name == REQUEST or "." in stage.name or not stage.name:
            raise ConfigError(f"{stage.name!r} cannot be the name of a stage; choose one without a dot")
        if stage.name in seen:
            raise ConfigError(f"two stages are called {stage.name!r}; give one of them another name")
        seen.add(stage.name)
    return stages


def _stage(plain: Plain, name: str | None) -> Stage:
    if isinstance(plain, Stage):
        return plain
    if isinstance(plain, str):
        return Stage(name or plain, plain)
    if not isinstance(plain, Mapping):
        raise ConfigError(
            f"stage {name or plain!r} is no Stage, mapping or agent's name, but {type(plain).__name__}; a "
            f"function needs a Stage, with names for its outputs"
        )
    known = [each.name for each in fields(Stage)]
    unknown = [str(key) for key in plain if key not in known]
    given = {"name": name, **plain}
    if given["name"] is None:
        given["name"] = given.get("agent")
    if unknown or not isinstance(given["name"], str) or "agent" not in given:
        raise ConfigError(
            f"stage {given['name']!r}: " + (f"unknown field {', '.join(unknown)}" if unknown else "no agent")
            + f"; the fields are {', '.join(known)}"
        )  # fmt: skip
    return Stage(**given)


def _node(stage: Stage, agents: Agents, before: Node | None) -> Node:
    where = f"stage {stage.name!r}"
    if isinstance(stage.agent, str):
        served: Served | None = agents(stage.agent)
    elif callable(stage.agent):
        served = None
    else:
        raise ConfigError(f"{where}: {stage.agent!r} is neither an agent's name nor a function")
    if isinstance(stage.outputs, str):
        raise ConfigError(f"{where}: outputs is a list of names, got {stage.outputs!r}")
    if served is None and (stage.pre or stage.post):
        raise ConfigError(f"{where}: pre and post stand around an agent; a function can do it itself")
    if served is None and not stage.outputs:
        raise ConfigError(f"{where}: a function needs names for its outputs: outputs=[...]")
    if served is not None and stage.outputs and not stage.post:
        raise ConfigError(f"{where}: the outputs of an agent have names; `outputs` names what `post` gives")
    inputs = _inputs(stage, served, before, where)
    outputs: dict[str, TensorSpec | None] = dict.fromkeys(stage.outputs)
    if served is not None and not outputs:
        outputs = {spec.name: None if stage.post else spec for spec in served.signature.outputs}
    return Node(stage, served, inputs, outputs)


def _inputs(
    stage: Stage, served: Served | None, before: Node | None, where: str
) -> dict[str, tuple[Reference, ...]]:
    free = served is None or stage.pre is not None  # it takes whatever names it is given
    taken = [] if served is None else [spec.name for spec in served.signature.inputs]
    given = stage.inputs
    if given is None:
        if before is not None:
            return _chained(before, None if free else taken, where)
        if free:
            raise ConfigError(f"{where}: say where its inputs come from: inputs={{...}}")
        return {name: (Reference(REQUEST, name),) for name in taken}
    if not isinstance(given, Mapping):
        if free or len(taken) != 1:
            raise ConfigError(
                f"{where}: inputs must say which input each source is for"
                + ("" if free else f"; the agent takes {', '.join(taken)}")
            )
        return {taken[0]: _references(given, f"{where}, input {taken[0]!r}")}
    if not free:
        missing, extra = [n for n in taken if n not in given], [str(n) for n in given if n not in taken]
        if missing or extra:
            raise ConfigError(
                f"{where}: the inputs are wrong: missing {', '.join(missing) or 'none'}, unexpected "
                f"{', '.join(extra) or 'none'}; the agent {stage.agent!r} takes {', '.join(taken)}"
            )
        given = {name: given[name] for name in taken}
    if not given:
        raise ConfigError(f"{where}: it has no input")
    return {name: _references(source, f"{where}, input {name!r}") for name, source in given.items()}


def _chained(before: Node, taken: Sequence[str] | None, where: str) -> dict[str, tuple[Reference, ...]]:
    """The inputs of a stage of a chain: outputs of the one before, by name, else in order."""
    offered = list(before.outputs)
    if taken is None:
        taken = offered
    if all(name in offered for name in taken):
        return {name: (Reference(before.name, name),) for name in taken}
    if len(taken) > len(offered):
        raise ConfigError(
            f"{where} takes {len(taken)} inputs ({', '.join(taken)}), but stage {before.name!r} before it "
            f"gives {len(offered)} ({', '.join(offered)}); say where they come from: inputs={{...}}"
        )
    return {name: (Reference(before.name, output),) for name, output in zip(taken, offered, strict=False)}


def _references(source: Source, where: str) -> tuple[Reference, ...]:
    parts = [source] if isinstance(source, str) or not isinstance(source, Sequence) else source
    if not parts:
        raise ConfigError(f"{where}: it has no source")
    return tuple(Reference.parse(part, where) for part in parts)


def _check_known(parts: Sequence[Reference], nodes: Mapping[str, Node], where: str) -> None:
    for part in parts:
        if part.stage == REQUEST:
            continue
        if part.stage not in nodes:
            raise ConfigError(
                f"{where}: {str(part)!r} is of an unknown stage; there are {', '.join([REQUEST, *nodes])}"
            )
        if part.output not in nodes[part.stage].outputs:
            raise ConfigError(
                f"{where}: stage {part.stage!r} has no output {part.output!r}; it gives "
                f"{', '.join(nodes[part.stage].outputs)}"
            )


def _in_order(nodes: Mapping[str, Node]) -> tuple[Node, ...]:
    ordered: list[Node] = []
    done: set[str] = set()
    left = list(nodes.values())
    while left:
        ready = [node for node in left if done.issuperset(node.needs)]
        if not ready:
            raise ConfigError(f"the stages wait for each other in a circle: {_circle(left)}")
        ordered += ready
        done |= {node.name for node in ready}
        left = [node for node in left if node.name not in done]
    return tuple(ordered)


def _circle(left: Sequence[Node]) -> str:
    """One circle among nodes that all wait for one another, in the direction of the data."""
    nodes = {node.name: node for node in left}
    path = [left[0].name]
    while True:
        name = next(name for name in nodes[path[-1]].needs if name in nodes)
        if name in path:
            return " → ".join([name, *reversed(path[path.index(name) :])])
        path.append(name)


def _check_used(nodes: Mapping[str, Node], wanted: Mapping[str, Sequence[Reference]]) -> None:
    used = {part.stage for parts in wanted.values() for part in parts}
    waiting = [name for name in used if name in nodes]
    while waiting:
        new = [name for name in nodes[waiting.pop()].needs if name not in used]
        used.update(new)
        waiting += new
    unused = [name for name in nodes if name not in used]
    if unused:
        raise ConfigError(
            f"nothing uses what stage {unused[0]!r} gives; leave it out, or name it among the outputs of the "
            f"pipeline ({', '.join(str(part) for parts in wanted.values() for part in parts)})"
        )
