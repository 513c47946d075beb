"""What the writers of models share: value after value, in torch's order of axes or in the engine's.

Engines compute convolutions in an order of axes of their own. A value stays in it through element-wise
layers, and is put back where a layer needs the order of torch, at most once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from grandopt.compiler.backends.portable.graph import Graph, Layer
from grandopt.compiler.backends.portable.layers import BINARY, SHAPED_UNARY, UNARY
from grandopt.errors import UnsupportedError

T = TypeVar("T")


class Writer(ABC, Generic[T]):
    """Writes the layers of a graph, made for one batch size; `T` is what the engine calls a value.

    `methods` has a function for each kind of layer that the engine has.
    """

    methods: Mapping[str, Callable[[Layer], None]]

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._values: dict[str, T] = {}
        self._spatial: dict[str, T] = {}
        self._shapes = {name: array.shape for name, array in graph.constants.items()}
        self._shapes |= {item.name: item.shape for item in graph.inputs}
        self._shapes |= {layer.name: layer.shape for layer in graph.layers}

    def write(self) -> list[T]:
        """Write all layers; returns the outputs. Raises UnsupportedError for what the engine lacks."""
        for item in self.graph.inputs:
            self._values[item.name] = self.input(item.name, item.shape, item.dtype)
        for layer in self.graph.layers:
            if layer.name not in self._values and layer.name not in self._spatial:
                if layer.kind not in self.methods:
                    raise UnsupportedError(f"{layer.kind} is not covered")
                self.methods[layer.kind](layer)
        return [self.value(name) for name in self.graph.outputs]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value in torch's order."""
        return self._shapes[name]

    def value(self, name: str) -> T:
        """A value in torch's order."""
        if name not in self._values:
            if name in self.graph.constants:
                self._values[name] = self.constant(name)
            else:
                self._values[name] = self.from_spatial(self._spatial[name], self.shape(name))
        return self._values[name]

    def spatial(self, name: str) -> T:
        """A value [B, C, L] or [B, C, H, W] in the engine's order."""
        if name not in self._spatial:
            self._spatial[name] = self.to_spatial(self.value(name), self.shape(name))
        return self._spatial[name]

    def define(self, name: str, value: T, *, spatial: bool = False) -> None:
        """Enter what a layer gives."""
        (self._spatial if spatial else self._values)[name] = value

    def stays(self, layer: Layer) -> bool:
        """Whether an element-wise layer is computed in the engine's order: its operands lie in it.

        A single number fits any order.
        """
        if layer.kind not in (*UNARY, *SHAPED_UNARY, *BINARY):
            return False
        wide = [name for name in layer.inputs if self.shape(name) != ()]
        held = [name for name in wide if name in self._spatial and name not in self._values]
        return bool(held) and all(
            name not in self.graph.constants and self.shape(name) == layer.shape for name in wide
        )

    def operands(self, layer: Layer) -> tuple[list[T], bool]:
        """The operands of an element-wise layer, and whether they lie in the engine's order."""
        if not self.stays(layer):
            return [self.value(name) for name in layer.inputs], False
        return [
            self.value(name) if self.shape(name) == () else self.spatial(name) for name in layer.inputs
        ], True

    @abstractmethod
    def input(self, name: str, shape: tuple[int, ...], dtype: str) -> T:
        """A new input of the model."""

    @abstractmethod
    def constant(self, name: str) -> T:
        """One of the graph's constants."""

    @abstractmethod
    def to_spatial(self, value: T, shape: tuple[int, ...]) -> T:
        """From torch's order into the engine's."""

    @abstractmethod
    def from_spatial(self, value: T, shape: tuple[int, ...]) -> T:
        """From the engine's order into torch's."""
