"""What is in an ONNX file, as frozen data: nothing of it is computed, and no tensor is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from grandopt.compiler.checkpoints.onnx.wire import BYTES, Field, Wire
from grandopt.signature import Array

ItemT = TypeVar("ItemT")
Dim = int | str | None
"""A size: fixed, by a name, or not said."""


@dataclass(frozen=True)
class Tensor:
    """The values of a constant as the file has them; `data` are raw bytes or numbers of a wider type."""

    name: str
    shape: tuple[int, ...]
    kind: int
    raw: memoryview | None = None
    numbers: Array | list[int] | None = None
    external: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ValueInfo:
    """An input or output of a graph. `kind` is None for what is no dense tensor, `shape` if it is unsaid."""

    name: str
    kind: int | None
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Reference:
    """An attribute of a function's node that stands for an attribute of the call."""

    name: str


@dataclass(frozen=True)
class Node:
    """One call of an operator. An empty name among the inputs or outputs stands for one that is left out."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    @property
    def label(self) -> str:
        """The operator and, where it has one, the node's name, for a message."""
        return f"{self.op} ({self.name})" if self.name else self.op


@dataclass(frozen=True)
class Graph:
    """Nodes in order, with constants, inputs and outputs."""

    name: str
    nodes: tuple[Node, ...]
    constants: tuple[Tensor, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    sparse: bool = False


@dataclass(frozen=True)
class Function:
    """An operator that the file itself defines."""

    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """The whole file."""

    graph: Graph
    opsets: Mapping[str, int]
    metadata: Mapping[str, str]
    functions: tuple[Function, ...]
    producer: str


def model(data: bytes, where: str) -> Model:
    """The content of an ONNX file; raises CheckpointError, `where` in front, for a damaged one."""
    return _Reader(Wire(where)).model(memoryview(data))


class _Reader:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._depth = 0

    def _all(self, data: memoryview) -> dict[int, list[Field]]:
        found: dict[int, list[Field]] = {}
        for item in self._wire.fields(data, self._depth):
            found.setdefault(item[0], []).append(item)
        return found

    def _each(
        self, fields: dict[int, list[Field]], number: int, read: Callable[[memoryview], ItemT]
    ) -> tuple[ItemT, ...]:
        self._depth += 1
        items = []
        for item in fields.get(number, ()):
            if item[1] != BYTES:
                raise self._wire.damaged(f"field {number} of another kind")
            items.append(read(item[3]))
        self._depth -= 1
        return tuple(items)

    def _texts(self, fields: dict[int, list[Field]], number: int) -> tuple[str, ...]:
        """Names, which messages show: each is one line."""
        names = tuple(self._wire.text(item) for item in fields.get(number, ()))
        if not all(map(str.isprintable, names)):
            raise self._wire.damaged("a name that is no text")
        return names

    def _text(self, fields: dict[int, list[Field]], number: int) -> str:
        return (self._texts(fields, number) or ("",))[-1]

    def _numbers(self, fields: dict[int, list[Field]], number: int) -> list[int]:
        return [value for item in fields.get(number, ()) for value in self._wire.integers(item)]

    def _number(self, fields: dict[int, list[Field]], number: int) -> int | None:
        return (self._numbers(fields, number) or [None])[-1]  # type: ignore[list-item]

    def _pairs(self, fields: dict[int, list[Field]], number: int) -> dict[str, str]:
        return {
            self._text(entry, 1): self._wire.text(entry[2][-1]) if 2 in entry else ""
            for entry in self._each(fields, number, self._all)
        }

    def model(self, data: memoryview) -> Model:
        fields = self._all(data)
        graphs = self._each(fields, 7, self._graph)
        if not graphs:
            raise self._wire.damaged("it holds no graph")
        opsets = {
            self._text(entry, 1): self._number(entry, 2) or 1 for entry in self._each(fields, 8, self._all)
        }
        producer = f"{self._text(fields, 2)} {self._text(fields, 3)}".strip()
        functions = self._each(fields, 25, self._function)
        return Model(graphs[-1], opsets, self._pairs(fields, 14), functions, producer)

    def _graph(self, data: memoryview) -> Graph:
        fields = self._all(data)
        return Graph(
            name=self._text(fields, 2),
            nodes=self._each(fields, 1, self._node),
            constants=self._each(fields, 5, self._tensor),
            inputs=self._each(fields, 11, self._value_info),
            outputs=self._each(fields, 12, self._value_info),
            sparse=15 in fields,
        )

    def _function(self, data: memoryview) -> Function:
        fields = self._all(data)
        return Function(
            domain=self._text(fields, 10),
            name=self._text(fields, 1),
            inputs=self._texts(fields, 4),
            outputs=self._texts(fields, 5),
            nodes=self._each(fields, 7, self._node),
            defaults=dict(self._each(fields, 11, self._attribute)),
        )

    def _node(self, data: memoryview) -> Node:
        fields = self._all(data)
        domain = self._text(fields, 7)
        return Node(
            op=self._text(fields, 4),
            inputs=self._texts(fields, 1),
            outputs=self._texts(fields, 2),
            attributes=dict(self._each(fields, 5, self._attribute)),
            name=self._text(fields, 3),
            domain="" if domain == "ai.onnx" else domain,
        )

    def _attribute(self, data: memoryview) -> tuple[str, Any]:
        """Name and value. Old files do not state the type, so the field that is there tells it."""
        fields = self._all(data)
        name = self._text(fields, 1)
        if 21 in fields:
            return name, Reference(self._text(fields, 21))
        readers: dict[int, tuple[int, Callable[[int], Any]]] = {
            1: (2, lambda at: self._wire.single(fields[at][-1]) if at in fields else 0.0),
            2: (3, lambda at: self._number(fields, at) or 0),
            3: (4, lambda at: bytes(fields[at][-1][3]).decode("utf-8", "replace") if at in fields else ""),
            4: (5, lambda at: self._last(fields, at, self._tensor)),
            5: (6, lambda at: self._last(fields, at, self._graph)),
            6: (7, lambda at: [n for item in fields.get(at, ()) for n in self._floats(item)]),
            7: (8, lambda at: self._numbers(fields, at)),
            8: (9, lambda at: [bytes(item[3]).decode("utf-8", "replace") for item in fields.get(at, ())]),
        }  # fmt: skip
        kind = self._number(fields, 20) or next((k for k, (at, _) in readers.items() if at in fields), 0)
        if kind not in readers:
            return name, None
        at, read = readers[kind]
        return name, read(at)

    def _floats(self, item: Field) -> list[float]:
        return list(self._wire.floats(item, "<f4").tolist())

    def _last(
        self, fields: dict[int, list[Field]], number: int, read: Callable[[memoryview], ItemT]
    ) -> ItemT:
        items = self._each(fields, number, read)
        if not items:
            raise self._wire.damaged("an attribute without a value")
        return items[-1]

    def _tensor(self, data: memoryview) -> Tensor:
        fields = self._all(data)
        numbers: Array | list[int] | None = None
        for at, dtype in ((4, "<f4"), (10, "<f8")):
            if at in fields:
                parts = [self._wire.floats(item, dtype) for item in fields[at]]
                numbers = parts[0] if len(parts) == 1 else _joined(parts)
        for at in (5, 7, 11):
            if at in fields:
                numbers = self._numbers(fields, at)
        external = self._pairs(fields, 13) if self._number(fields, 14) == 1 else None
        return Tensor(
            name=self._text(fields, 8),
            shape=tuple(self._numbers(fields, 1)),
            kind=self._number(fields, 2) or 0,
            raw=fields[9][-1][3] if 9 in fields else None,
            numbers=numbers,
            external=external,
        )

    def _value_info(self, data: memoryview) -> ValueInfo:
        fields = self._all(data)
        name = self._text(fields, 1)
        types = self._each(fields, 2, self._all)
        tensors = self._each(types[-1], 1, self._all) if types else ()
        if not tensors:
            return ValueInfo(name, None, None)
        shapes = self._each(tensors[-1], 2, self._all)
        shape = tuple(self._each(shapes[-1], 1, self._dim)) if shapes else None
        return ValueInfo(name, self._number(tensors[-1], 1), shape)

    def _dim(self, data: memoryview) -> Dim:
        fields = self._all(data)
        if 2 in fields:
            return self._text(fields, 2) or None
        size = self._number(fields, 1)
        return size if size is None or size > 0 else None


def _joined(parts: list[Array]) -> Array:
    import numpy as np

    return np.concatenate(parts)
