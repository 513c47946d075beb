"""The way through an exported program, node by node; `operators` and `moves` say what each becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from grandopt.compiler.backends.portable.graph import Graph, Input, Layer
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

Value = Any
"""The name of a value, a constant tensor, a list of such, or a Python number."""

Translate = Callable[["Translator", Node, list[Any]], Value]


class Translator:
    """One translation; the functions of `operators` define layers through it."""

    def __init__(self, program: ExportedProgram, operators: Mapping[str, Translate]) -> None:
        self._program = program
        self._operators = operators
        self._inputs: list[Input] = []
        self._layers: list[Layer] = []
        self._constants: dict[str, Array] = {}
        self._names: dict[int, str] = {}  # of constant tensors, which `_values` keeps alive
        self._values: dict[Node, Value] = {}
        self._made: list[torch.Tensor] = []

    def graph(self) -> Graph:
        """Translate all of it."""
        given = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._placeholder(node, given[node.name])
            elif node.op == "call_function":
                self._values[node] = self._called(node)
            elif node.op == "output":
                outputs = tuple(self.name(self._values[item]) for item in self._outputs(node))
        return Graph(tuple(self._inputs), tuple(self._layers), outputs, self._constants)

    def define(self, kind: str, inputs: list[Value], shape: tuple[int, ...], **settings: Any) -> str:
        """Add a layer; returns the name of its value."""
        name = f"v{len(self._layers)}"
        self._layers.append(Layer(kind, name, tuple(map(self.name, inputs)), shape, settings))
        return name

    def constant(self, value: float) -> torch.Tensor:
        """A number as a constant operand."""
        tensor = torch.tensor(float(value), dtype=torch.float32)
        self._made.append(tensor)
        return tensor

    def name(self, value: Value) -> str:
        """The name of a value; a constant is entered by it."""
        if isinstance(value, str):
            return value
        if not isinstance(value, torch.Tensor):
            raise UnsupportedError(f"{value!r} is no tensor")
        if id(value) not in self._names:
            self._made.append(value)
            self._names[id(value)] = name = f"w{len(self._constants)}"
            self._constants[name] = np.ascontiguousarray(value.detach().to(torch.float32).numpy())
        return self._names[id(value)]

    def shape(self, node: Node) -> tuple[int, ...]:
        """The shape of what a node gives, the batch as negative sizes."""
        return tuple(map(_size, node.meta["val"].shape))

    def given_shape(self, node: Any, argument: int = 0) -> tuple[int, ...]:
        """The shape of an argument of a node."""
        return self.shape(node.args[argument])

    def _placeholder(self, node: Node, spec: Any) -> Value:
        if spec.kind is InputKind.USER_INPUT:
            dtype = str(node.meta["val"].dtype).removeprefix("torch.")
            self._inputs.append(Input(node.name, self.shape(node), dtype))
            return node.name
        if spec.kind is InputKind.CONSTANT_TENSOR or spec.target not in self._program.state_dict:
            return self._program.constants[spec.target]
        return self._program.state_dict[spec.target]

    def _outputs(self, node: Node) -> list[Node]:
        kinds = [spec.kind for spec in self._program.graph_signature.output_specs]
        if any(kind is not OutputKind.USER_OUTPUT for kind in kinds):
            raise UnsupportedError("a state that is kept between calls is not covered")
        found: list[Node] = list(node.args[0])  # type: ignore[arg-type]
        for item in found:
            if item.meta["val"].dtype != torch.float32:
                dtype = str(item.meta["val"].dtype).removeprefix("torch.")
                raise UnsupportedError(f"an output of {dtype} is not covered")
        return found

    def _called(self, node: Node) -> Value:
        arguments = [self._argument(argument) for argument in node.args]
        if node.name and getattr(node.target, "__name__", "") == "getitem":
            return arguments[0][arguments[1]]
        if isinstance(node.meta.get("val"), torch.SymInt):
            return node.meta["val"]
        if not _varies(arguments) and not node.kwargs.get("generator"):
            return node.target(*arguments, **node.kwargs)  # type: ignore[operator]
        name = str(node.target).removeprefix("aten.")
        if name not in self._operators:
            raise UnsupportedError(f"aten.{name} is not covered")
        try:
            return self._operators[name](self, node, arguments)
        except UnsupportedError as error:
            raise UnsupportedError(f"aten.{name}: {error}") from error

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return self._values[argument]
        if isinstance(argument, list | tuple):
            return [self._argument(item) for item in argument]
        return argument


def _varies(argument: Any) -> bool:
    """Whether it depends on the inputs or on the batch."""
    if isinstance(argument, list):
        return any(map(_varies, argument))
    return isinstance(argument, str | torch.SymInt)


def _size(size: int | torch.SymInt) -> int:
    """A size as a `Graph` has it; raises UnsupportedError for one that is no multiple of the batch."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_number:
        return int(expression)
    symbols = list(expression.free_symbols)
    times = expression.coeff(symbols[0]) if len(symbols) == 1 else None
    if times is None or not times.is_Integer or expression != times * symbols[0]:
        raise UnsupportedError(f"a size of {expression} is not covered")
    return -int(times)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def is_number(value: Any) -> bool:
    """Whether it is a Python number that is finite."""
    return isinstance(value, int | float) and math.isfinite(value)
