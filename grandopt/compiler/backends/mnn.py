"""MNN: a model put together through its own expressions, because its converter installs packages by itself.

Imported in MNN's environment, which has no torch; the network comes as a `Graph`. Nothing of it is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import MNN.expr as expr
import numpy as np

from grandopt.compiler.backends.portable.graph import Graph, Layer
from grandopt.compiler.backends.portable.layers import BINARY, REDUCTIONS, UNARY
from grandopt.compiler.backends.portable.writer import Writer
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

INPUT, OUTPUT = "input{}", "output{}"
"""The names of the model's inputs and outputs, by place."""

NAMES = {"absolute": "abs", "negative": "negative"}
"""MNN's words where they are other ones than those of `layers`."""

Var = Any
"""A value of MNN's expressions."""


def write(graph: Graph, batch: int, path: Path) -> None:
    """Write the float32 model for one batch size; raises UnsupportedError for what MNN lacks."""
    writer = MnnWriter(graph.at(batch))
    outputs = writer.write()
    for place, output in enumerate(outputs):
        # A value of its own: it may be an input, or another output, too.
        outputs[place] = expr.reshape(output, list(writer.shape(graph.outputs[place])))
        outputs[place].name = OUTPUT.format(place)
    expr.save(outputs, str(path))


class MnnWriter(Writer[Var]):
    """Values are MNN's; its order of axes for convolutions is NC4HW4, with H 1 for sequences."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._given = 0
        self.methods: Mapping[str, Callable[[Layer], None]] = {
            **dict.fromkeys((*UNARY, *BINARY, "gelu", "elu", "leaky_relu"), self._elementwise),
            **dict.fromkeys(REDUCTIONS, self._reduction),
            "cast": self._one(lambda layer, x: expr.cast(x, expr.float)),
            "linear": self._linear,
            "matmul": self._matmul,
            "softmax": self._one(lambda layer, x: expr.softmax(x, layer.settings["axis"])),
            "reshape": self._one(lambda layer, x: expr.reshape(x, list(layer.shape))),
            "transpose": self._one(lambda layer, x: expr.transpose(x, layer.settings["order"])),
            "concat": self._concat,
            "slice": self._one(self._slice),
            "reverse": self._one(lambda layer, x: expr.reverse(x, _whole([layer.settings["axis"]]))),
            "broadcast": self._one(lambda layer, x: expr.broadcast_to(x, list(layer.shape))),
            "pad": self._one(self._pad),
            "convolution": self._convolution,
            "pool": self._pool,
        }

    def input(self, name: str, shape: tuple[int, ...], dtype: str) -> Var:
        kinds = {"float32": expr.float, "int32": expr.int, "uint8": expr.uint8}
        if dtype not in kinds:
            raise UnsupportedError(f"an input of {dtype} is not covered")
        made = expr.placeholder(list(shape), expr.NCHW, kinds[dtype])
        made.name = INPUT.format(self._given)
        self._given += 1
        return made

    def constant(self, name: str) -> Var:
        return _constant(self.graph.constants[name])

    def to_spatial(self, value: Var, shape: tuple[int, ...]) -> Var:
        wide = value if len(shape) == 4 else expr.reshape(value, [shape[0], shape[1], 1, shape[2]])
        return expr.convert(wide, expr.NC4HW4)

    def from_spatial(self, value: Var, shape: tuple[int, ...]) -> Var:
        plain = expr.convert(value, expr.NCHW)
        return plain if len(shape) == 4 else expr.reshape(plain, list(shape))

    def _one(self, call: Callable[[Layer, Var], Var]) -> Callable[[Layer], None]:
        return lambda layer: self.define(layer.name, call(layer, self.value(layer.inputs[0])))

    def _elementwise(self, layer: Layer) -> None:
        operands, spatial = self.operands(layer)
        self.define(layer.name, _element_by_element(layer, operands), spatial=spatial)

    def _reduction(self, layer: Layer) -> None:
        settings = layer.settings
        value = self.value(layer.inputs[0])
        self.define(layer.name, getattr(expr, layer.kind)(value, settings["axes"], settings["keep"]))

    def _linear(self, layer: Layer) -> None:
        """A product with the constant as it lies: a 1×1 convolution takes 3 to 6 times as long."""
        rows = 1
        for size in layer.shape[:-1]:
            rows *= size
        value, weight = self.value(layer.inputs[0]), self.value(layer.inputs[1])
        flat = len(layer.shape) == 2
        if not flat:
            value = expr.reshape(value, [rows, self.shape(layer.inputs[0])[-1]])
        made = expr.matmul(value, weight, False, True)
        if len(layer.inputs) > 2:
            made = expr.add(made, self.value(layer.inputs[2]))
        self.define(layer.name, made if flat else expr.reshape(made, list(layer.shape)))

    def _matmul(self, layer: Layer) -> None:
        left, right = map(self.value, layer.inputs)
        self.define(layer.name, expr.matmul(left, right, False, False))

    def _concat(self, layer: Layer) -> None:
        self.define(layer.name, expr.concat([*map(self.value, layer.inputs)], layer.settings["axis"]))

    def _slice(self, layer: Layer, value: Var) -> Var:
        begin = [0] * len(layer.shape)
        begin[layer.settings["axis"]] = layer.settings["start"]
        return expr.slice(value, _whole(begin), _whole(layer.shape))

    def _pad(self, layer: Layer, value: Var) -> Var:
        if layer.settings["value"] != 0:
            raise UnsupportedError(f"padding with {layer.settings['value']:g} is not covered")
        pairs = [*zip(layer.settings["before"], layer.settings["after"], strict=True)]
        rows = expr.const(np.asarray(pairs, np.int32), [len(pairs), 2], expr.NCHW, expr.int)
        return expr.pad(value, rows)

    def _convolution(self, layer: Layer) -> None:
        array, settings = self.graph.constants[layer.inputs[1]], layer.settings
        one = [] if array.ndim == 4 else [1]
        kernel = array if array.ndim == 4 else array[:, :, None, :]
        padding = [*([] if array.ndim == 4 else [0]), *settings["padding"]]
        made = expr.conv2d(
            self.spatial(layer.inputs[0]),
            _constant(kernel),
            self.value(layer.inputs[2]),
            stride=[*one, *settings["stride"]][::-1],  # MNN has the width first
            padding=padding[::-1],
            dilate=[*one, *settings["dilation"]][::-1],
            group=settings["groups"],
            padding_mode=expr.Padding_Mode.CAFFE,  # the one that reads `padding`
        )
        self.define(layer.name, made, spatial=True)

    def _pool(self, layer: Layer) -> None:
        pool = expr.max_pool if layer.settings["mode"] == "max" else expr.avg_pool
        kernel, stride = layer.settings["kernel"][::-1], layer.settings["stride"][::-1]
        self.define(layer.name, pool(self.spatial(layer.inputs[0]), kernel, stride), spatial=True)


def _element_by_element(layer: Layer, operands: list[Var]) -> Var:
    match layer.kind:
        case "gelu" if not layer.settings["approximate"]:
            half = expr.multiply(operands[0], _constant(np.float32(0.5)))
            spread = expr.erf(expr.multiply(operands[0], _constant(np.float32(0.5**0.5))))
            return expr.multiply(half, expr.add(spread, _constant(np.float32(1))))
        case "gelu":
            raise UnsupportedError("gelu by tanh is not covered")
        case "elu":
            return expr.elu(operands[0], layer.settings["alpha"])
        case "leaky_relu":
            return expr.relu(operands[0], layer.settings["slope"])
    return getattr(expr, NAMES.get(layer.kind, layer.kind))(*operands)


def _constant(array: Array | np.float32) -> Var:
    held = np.ascontiguousarray(array, np.float32)
    return expr.const(held, list(held.shape), expr.NCHW, expr.float)


def _whole(numbers: Any) -> Var:
    row = np.asarray(numbers, np.int32)
    return expr.const(row, [len(row)], expr.NCHW, expr.int)
