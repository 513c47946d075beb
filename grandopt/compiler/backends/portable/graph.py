"""`Graph`: layers in calling order, their weights, and a file that holds both; NumPy alone is needed.

Shapes are those of torch. A negative size stands for so many times the batch: -1 is the batch, -60 is 60 rows
of every observation. `Graph.at` puts a number in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.signature import Array

LAYERS = "layers"
"""The name of the file's entry that is no weight."""


@dataclass(frozen=True)
class Layer:
    """One step: what it computes (`kind`, see `layers`), of which values, and what it defines."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Input:
    """An input of the network: its name in the graph, its shape with the batch, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """A network: every value is an input, a constant, or defined by one layer before its first use.

    Constants and all values but the inputs are float32.
    """

    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]

    def save(self, path: Path) -> None:
        """Write it as `.npz` without pickled objects."""
        described = {
            "inputs": [asdict(item) for item in self.inputs],
            "layers": [asdict(item) for item in self.layers],
            "outputs": self.outputs,
        }
        # The names of values may be those of `savez`'s own parameters: none is passed as one.
        text = np.frombuffer(json.dumps(described).encode(), np.uint8)
        np.savez(path, allow_pickle=False, **{LAYERS: text}, **_filed(self.constants))

    @staticmethod
    def load(path: Path) -> Graph:
        """The inverse of `save`."""
        with np.load(path, allow_pickle=False) as file:
            described = json.loads(file[LAYERS].tobytes())
            constants = {name[2:]: file[name] for name in file.files if name.startswith("c.")}
        return Graph(
            tuple(Input(item["name"], tuple(item["shape"]), item["dtype"]) for item in described["inputs"]),
            tuple(
                Layer(
                    item["kind"], item["name"], tuple(item["inputs"]), tuple(item["shape"]), item["settings"]
                )
                for item in described["layers"]
            ),
            tuple(described["outputs"]),
            constants,
        )

    def at(self, batch: int) -> Graph:
        """The graph for one batch size: no negative sizes, and no layers whose inputs are all constant."""
        constants, layers = dict(self.constants), []
        for layer in self.layers:
            shape = sizes(layer.shape, batch)
            fold = FOLDED.get(layer.kind)
            if fold is not None and all(name in constants for name in layer.inputs):
                operands = [constants[name] for name in layer.inputs]
                constants[layer.name] = np.ascontiguousarray(fold(operands, shape, layer.settings))
            else:
                layers.append(Layer(layer.kind, layer.name, layer.inputs, shape, layer.settings))
        inputs = tuple(Input(item.name, sizes(item.shape, batch), item.dtype) for item in self.inputs)
        used = {name for layer in layers for name in layer.inputs} | set(self.outputs)
        kept = {name: array for name, array in constants.items() if name in used}
        return Graph(inputs, tuple(layers), self.outputs, kept)

    def uses(self) -> dict[str, int]:
        """How often each value is read, as an output of the network too."""
        found: dict[str, int] = {}
        for name in (*(name for layer in self.layers for name in layer.inputs), *self.outputs):
            found[name] = found.get(name, 0) + 1
        return found


def sizes(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """The shape at a batch size."""
    return tuple(-size * batch if size < 0 else size for size in shape)


def _filed(constants: Mapping[str, Array]) -> dict[str, Array]:
    return {f"c.{name}": array for name, array in constants.items()}


def _cut(array: Array, settings: Mapping[str, Any]) -> Array:
    index = [slice(None)] * array.ndim
    index[settings["axis"]] = slice(settings["start"], settings["stop"])
    return array[tuple(index)]


FOLDED: Mapping[str, Callable[[list[Array], tuple[int, ...], Mapping[str, Any]], Array]] = {
    "full": lambda _, shape, settings: np.full(shape, settings["value"], np.float32),
    "reshape": lambda operands, shape, _: operands[0].reshape(shape),
    "broadcast": lambda operands, shape, _: np.broadcast_to(operands[0], shape),
    "transpose": lambda operands, _, settings: operands[0].transpose(settings["order"]),
    "slice": lambda operands, _, settings: _cut(operands[0], settings),
    "concat": lambda operands, _, settings: np.concatenate(operands, settings["axis"]),
}
"""What is computed in advance where it depends on the batch alone, such as the first state of an LSTM."""
