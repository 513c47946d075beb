"""An archive's `forward` as a plain module, which `torch.export` can follow.

Every operator of the graph is called as it stands, in order. Branches and loops are taken as Python takes
them: on sizes and on constants for good, and where one depends on the data the exporter sees it and refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from grandopt.compiler.scripted.batch import RECURRENT, Freed, recurrence, require_one_batch
from grandopt.compiler.scripted.graph import (
    Attributes,
    declaration,
    forward_graph,
    line_of,
    names,
    nodes,
)
from grandopt.compiler.scripted.scalars import NUMBERS, PLAIN
from grandopt.errors import CaptureError

UNEXPORTABLE = ("quantized", "mkldnn_prepacked", "xnnpack")
"""Operators on weights that are packed for one library, which no graph holds."""

SLICED = ("aten::slice", "aten::__getitem__")
TAKEN_OUT = (
    "aten::Int", "aten::IntImplicit", "aten::Float", "aten::FloatImplicit", "aten::Bool",
    "aten::ScalarImplicit", "aten::item", "aten::is_nonzero", "aten::equal", "aten::allclose",
)  # fmt: skip
"""What makes a number for the code of the data."""

Environment = dict[str, Any]


class ScriptedNetwork(nn.Module):
    """The network of an archive, keeping nothing between calls; it shares the archive's weights.

    Takes what `forward` takes, and fills arguments that are not given with their defaults. What the archive
    prints is not printed, and what it raises is a RuntimeError. Making one raises CaptureError with the
    reason for an archive that cannot be read so.
    """

    def __init__(self, module: torch.jit.ScriptModule, state: Sequence[str] = ()) -> None:
        super().__init__()
        forward: Any = module.forward
        self._defaults = tuple(argument.default_value for argument in forward.schema.arguments[1:])
        self._graph = forward_graph(module)
        self._attributes = Attributes(module, self._graph)
        self._places: dict[str, str] = {}
        self._state = tuple(state)
        self._squeezed: dict[str, tuple[int, ...]] = {}
        self._learning = False
        self.freed = Freed()
        self.recurrences: list[tuple[list[torch.Tensor], list[torch.Tensor], int]] = []
        self._register()
        self.eval()

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Tensors in the order of the archive's `forward`; what it returns."""
        result, _ = self.step(inputs, ())
        return result

    def step(
        self, inputs: Sequence[Any], state: Sequence[torch.Tensor], batch: Any = 1
    ) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """One call with the attributes `state` from outside: what it returns, and their values afterwards.

        `batch` stands where `freed` says that the network has a batch of 1 built in.
        """
        first, *rest = names(self._graph.inputs())
        given = [*inputs, *self._defaults[len(inputs) :]]
        environment: Environment = {first: None, **dict(zip(rest, given, strict=True)), BATCH: batch}
        # The network may write into them, and they are the caller's.
        environment |= {_held(path): value.clone() for path, value in zip(self._state, state, strict=True)}
        self._run(self._graph, environment)
        outputs = [environment[name] for name in names(self._graph.outputs())]
        kept = tuple(environment[_held(path)] for path in self._state)
        return (outputs[0] if len(outputs) == 1 else tuple(outputs)), kept

    def learn(self, inputs: Sequence[Any], state: Sequence[torch.Tensor], batch: int) -> Any:
        """A call that finds out which dimensions a `squeeze` removes that does not name them.

        Those that it would remove of one row alone are not among them if `batch` is not 1. Raises
        CaptureError where the data decide what is done, which a trace would not show. Afterwards
        `recurrences` holds, for each recurrent layer, the tensors of the state that it took and gave, and
        where they have the batch.
        """
        self._learning = True
        self.recurrences = []
        try:
            return self.step(inputs, state, batch)
        finally:
            self._learning = False

    def _register(self) -> None:
        """Take over the tensors that the graph reads: the exporter knows weights by their registration."""
        known: dict[int, str] = {}
        for node in nodes(self._graph):
            value = self._tensor(node)
            if value is None:
                continue
            name = node.output().debugName()
            if id(value) not in known:
                known[id(value)] = place = f"weight_{len(known)}"
                self.register_buffer(place, value.detach())
            self._places[name] = known[id(value)]

    def _tensor(self, node: Any) -> torch.Tensor | None:
        value = None
        if node.kind() == "prim::Constant":
            value = node.output().toIValue()
        elif node.kind() == "prim::GetAttr":
            attribute = self._attributes[node.output().debugName()]
            value = None if attribute.path in self._state else attribute.value
        return value if isinstance(value, torch.Tensor) else None

    def _run(self, block: Any, environment: Environment) -> None:
        for node in block.nodes():
            try:
                self._step(node, environment)
            except GuardOnDataDependentSymNode as error:
                raise CaptureError(
                    f"the network's control flow depends on the data{line_of(node)}"
                ) from error

    def _step(self, node: Any, environment: Environment) -> None:
        match node.kind():
            case "prim::Constant":
                environment[node.output().debugName()] = self._value(node)
            case "prim::GetAttr":
                held = _held(self._attributes[node.output().debugName()].path)
                found = environment[held] if held in environment else self._value(node)
                environment[node.output().debugName()] = found
            case "prim::SetAttr":
                owner, value = names(node.inputs())
                path = f"{self._attributes[owner].path}.{node.s('name')}".lstrip(".")
                environment[_held(path)] = environment[value]
            case "prim::If":
                self._branch(node, environment)
            case "prim::Loop":
                self._loop(node, environment)
            case "prim::Uninitialized":
                environment[node.output().debugName()] = None
            case "prim::RaiseException":
                words = [environment[name] for name in names(node.inputs())]
                raise RuntimeError(f"{words[0]}{line_of(node)}")
            case "prim::TupleUnpack" | "prim::ListUnpack":
                values = environment[node.input().debugName()]
                environment.update(zip(names(node.outputs()), values, strict=True))
            case "aten::squeeze" if len(list(node.inputs())) == 1 and (self._learning or self._squeezed):
                _store(node, self._squeeze(node, environment), environment)
            case kind:
                _store(node, self._called(kind, node, environment), environment)

    def _value(self, node: Any) -> Any:
        name = node.output().debugName()
        if name in self._places:
            return getattr(self, self._places[name])
        if node.kind() == "prim::Constant":
            value = node.output().toIValue()
            return torch.device("cpu") if isinstance(value, torch.device) else value
        return self._attributes[name].value

    def _branch(self, node: Any, environment: Environment) -> None:
        taken, other = node.blocks()
        block = taken if environment[node.input().debugName()] else other
        self._run(block, environment)
        results = [environment[name] for name in names(block.outputs())]
        environment.update(zip(names(node.outputs()), results, strict=True))

    def _loop(self, node: Any, environment: Environment) -> None:
        (body,) = node.blocks()
        most, goes_on, *carried = [environment[name] for name in names(node.inputs())]
        place, *inner = names(body.inputs())
        count = 0
        while count < most and goes_on:
            environment.update({place: count, **dict(zip(inner, carried, strict=True))})
            self._run(body, environment)
            goes_on, *carried = [environment[name] for name in names(body.outputs())]
            count += 1
        environment.update(zip(names(node.outputs()), carried, strict=True))

    def _called(self, kind: str, node: Any, environment: Environment) -> Any:
        values = [environment[name] for name in names(node.inputs())]
        declared = declaration(node)
        if self._learning and kind in TAKEN_OUT and isinstance(values[0], torch.Tensor):
            raise CaptureError(f"the network's control flow depends on the data{line_of(node)}")
        if self.freed.selected and kind == "aten::select" and values[1] == 0 and values[2] in (0, -1):
            return values[0]
        values = self.freed.sizes(kind, values, environment[BATCH])
        if kind in PLAIN:
            return PLAIN[kind](*values)
        if kind == "aten::size":
            shape = list(values[0].shape)
            return shape if len(values) == 1 else shape[values[1]]
        if kind in SLICED and isinstance(values[0], list | tuple | dict | str):
            return _item(kind, values)
        if kind in NUMBERS and not any(isinstance(value, torch.Tensor) for value in values):
            return NUMBERS[kind](*values)
        if declared is None or not _is_known(kind):
            raise CaptureError(f"the archive uses {kind}{line_of(node)}, which cannot be exported")
        watched = self._learning and kind in RECURRENT and declared.overload_name != "data"
        if watched:
            require_one_batch(kind, values)
        result = _operator(kind, declared, values)
        if watched:
            self.recurrences.append(recurrence(kind, values, result))
        return result

    def _squeeze(self, node: Any, environment: Environment) -> torch.Tensor:
        """A `squeeze` without dimensions, of those that it had removed whatever the batch."""
        value: torch.Tensor = environment[node.input().debugName()]
        name = node.output().debugName()
        if self._learning:
            ones = [place for place, size in enumerate(value.shape) if size == 1]
            self._squeezed[name] = tuple(place for place in ones if place in self._squeezed.get(name, ones))
        dims = self._squeezed.get(name, ())
        return value.squeeze(dims) if dims else value


BATCH = " batch"


def _held(path: str) -> str:
    """The name in an environment of an attribute's value; no value of a graph has such a name."""
    return f" {path}"


def _operator(kind: str, declared: Any, values: Sequence[Any]) -> Any:
    """Call an operator of torch with its arguments as its declaration names them."""
    space, _, name = kind.partition("::")
    packet = getattr(getattr(torch.ops, space), name)
    places = list(zip(declared.arguments, values, strict=True))
    positional = [value for argument, value in places if not argument.kwarg_only]
    named = {argument.name: value for argument, value in places if argument.kwarg_only}
    overload = getattr(packet, declared.overload_name or "default", None)
    if any(isinstance(value, list) and _traced_size(value, argument) for argument, value in places):
        # Only torch's Python functions keep such a size in the trace.
        owner = positional[0] if isinstance(positional[0], torch.Tensor) else torch
        rest = positional[1:] if owner is not torch else positional
        return getattr(owner, name)(*rest, **{key: item for key, item in named.items() if item is not None})
    # A number that stands for a tensor (a size in a trace) fits another overload than the one recorded.
    exact = all(
        isinstance(value, torch.Tensor) for argument, value in places if str(argument.type) == "Tensor"
    )
    call: Any = overload if exact and overload is not None else packet
    return call(*positional, **named)


def _traced_size(sizes: list[Any], argument: Any) -> bool:
    """Whether a list of sizes holds one that a trace follows."""
    return str(argument.type) == "List[int]" and any(isinstance(size, torch.Tensor) for size in sizes)


def _is_known(kind: str) -> bool:
    space, _, name = kind.partition("::")
    return space not in UNEXPORTABLE and hasattr(getattr(torch.ops, space), name)


def _item(kind: str, values: Sequence[Any]) -> Any:
    items, *places = values
    return items[places[0]] if kind == "aten::__getitem__" else items[slice(*places)]


def _store(node: Any, result: Any, environment: Environment) -> None:
    outputs = names(node.outputs())
    if len(outputs) == 1:
        environment[outputs[0]] = result
    elif outputs:
        environment.update(zip(outputs, result, strict=True))
