"""LiteRT with XNNPACK: a `.tflite` file of our own writing, because its converters bring other frameworks.

Imported in LiteRT's environment, which has no torch; the network comes as a `Graph`. Nothing of it is
shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grandopt.compiler.backends.litert_file import TYPES, LiteRtFile
from grandopt.compiler.backends.portable.graph import Graph, Layer
from grandopt.compiler.backends.portable.layers import BINARY, REDUCTIONS, UNARY
from grandopt.compiler.backends.portable.writer import Writer
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

QUANTIZED_FROM = 1024
"""Weights with fewer numbers stay float32, as LiteRT's own converter has it."""

RELU = 1
"""In `fusedActivationFunction`."""
SAME, VALID = 0, 1

NAMES = {
    "relu": "RELU",
    "tanh": "TANH",
    "sigmoid": "LOGISTIC",
    "exp": "EXP",
    "log": "LOG",
    "sqrt": "SQRT",
    "rsqrt": "RSQRT",
    "negative": "NEG",
    "absolute": "ABS",
    "add": "ADD",
    "subtract": "SUB",
    "multiply": "MUL",
    "divide": "DIV",
    "maximum": "MAXIMUM",
    "minimum": "MINIMUM",
    "reduce_mean": "MEAN",
    "reduce_sum": "SUM",
    "reduce_max": "REDUCE_MAX",
}
OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}


def write(graph: Graph, batch: int, precision: str) -> bytes:
    """The model for one batch size: float32, or with int8 weights and inputs quantized per call.

    Raises UnsupportedError for a layer or a dtype that LiteRT lacks.
    """
    return LiteRtWriter(graph.at(batch), int8=precision == "int8_dynamic").content()


def quantizes(graph: Graph) -> bool:
    """Whether any weight is large enough to become int8."""
    weights = {layer.inputs[1] for layer in graph.layers if layer.kind in ("linear", "convolution")}
    return any(graph.constants[name].size >= QUANTIZED_FROM for name in weights)


class LiteRtWriter(Writer[int]):
    """Values are tensors' numbers; the engine's order of axes is [B, H, W, C], H 1 for sequences."""

    def __init__(self, graph: Graph, *, int8: bool) -> None:
        super().__init__(graph)
        self._file, self._int8 = LiteRtFile(), int8
        self._inputs: list[int] = []
        self._weights: dict[tuple[str, bool], int] = {}
        self._uses = graph.uses()
        self._relus = {layer.inputs[0]: layer.name for layer in graph.layers if layer.kind == "relu"}
        self.methods: Mapping[str, Callable[[Layer], None]] = {
            **dict.fromkeys((*UNARY, *BINARY), self._elementwise),
            **dict.fromkeys(REDUCTIONS, self._reduction),
            "gelu": lambda layer: self._unary(layer, "GELU", "GeluOptions", **layer.settings),
            "elu": self._elu,
            "leaky_relu": lambda layer: self._unary(
                layer, "LEAKY_RELU", "LeakyReluOptions", alpha=layer.settings["slope"]
            ),
            "cast": lambda layer: self._unary(layer, "CAST", "CastOptions"),
            "linear": self._linear,
            "matmul": lambda layer: self._plain(layer, "BATCH_MATMUL", "BatchMatMulOptions"),
            "softmax": self._softmax,
            "reshape": lambda layer: self.define(
                layer.name, self._reshaped(self.value(layer.inputs[0]), layer.shape)
            ),
            "transpose": lambda layer: self.define(
                layer.name, self._transposed(self.value(layer.inputs[0]), layer.settings["order"])
            ),
            "concat": lambda layer: self._plain(
                layer, "CONCATENATION", "ConcatenationOptions", axis=layer.settings["axis"]
            ),
            "slice": self._slice,
            "reverse": self._with("REVERSE_V2", "ReverseV2Options", lambda layer: [[layer.settings["axis"]]]),
            "broadcast": self._with("BROADCAST_TO", "BroadcastToOptions", lambda layer: [layer.shape]),
            "pad": self._pad,
            "convolution": self._convolution,
            "pool": self._pool,
        }

    def content(self) -> bytes:
        """The file."""
        outputs = self.write()
        # An output that is an input, a constant or another output is a tensor of its own.
        own = [
            number
            if outputs.index(number) == place and number in self._file.computed
            else self._copied(number)
            for place, number in enumerate(outputs)
        ]
        return self._file.content(self._inputs, own)

    def input(self, name: str, shape: tuple[int, ...], dtype: str) -> int:
        if dtype not in TYPES:
            raise UnsupportedError(f"an input of {dtype} is not covered")
        self._inputs.append(self._file.tensor(shape, dtype))
        return self._inputs[-1]

    def constant(self, name: str) -> int:
        return self._file.constant(self.graph.constants[name])

    def to_spatial(self, value: int, shape: tuple[int, ...]) -> int:
        last = self._transposed(value, [0, *range(2, len(shape)), 1])
        return last if len(shape) == 4 else self._reshaped(last, (shape[0], 1, shape[2], shape[1]))

    def from_spatial(self, value: int, shape: tuple[int, ...]) -> int:
        if len(shape) == 4:
            return self._transposed(value, [0, 3, 1, 2])
        return self._transposed(self._reshaped(value, (shape[0], shape[2], shape[1])), [0, 2, 1])

    def _operator(
        self, name: str, inputs: list[int], shape: tuple[int, ...], options: str = "", **fields: Any
    ) -> int:
        return self._file.operator(name, inputs, self._file.tensor(shape), options, **fields)

    def _reshaped(self, value: int, shape: tuple[int, ...]) -> int:
        sizes = self._file.constant(np.asarray(shape, np.int32))
        return self._operator("RESHAPE", [value, sizes], shape, "ReshapeOptions", newShape=list(shape))

    def _copied(self, value: int) -> int:
        return self._reshaped(value, self._file.shape(value))

    def _transposed(self, value: int, order: list[int]) -> int:
        before = self._file.shape(value)
        axes = self._file.constant(np.asarray(order, np.int32))
        shape = tuple(before[axis] for axis in order)
        return self._operator("TRANSPOSE", [value, axes], shape, "TransposeOptions")

    def _plain(self, layer: Layer, name: str, options: str, **fields: Any) -> None:
        operands = [self.value(operand) for operand in layer.inputs]
        self.define(layer.name, self._operator(name, operands, layer.shape, options, **fields))

    def _with(
        self, name: str, options: str, numbers: Callable[[Layer], list[Any]]
    ) -> Callable[[Layer], None]:
        """An operator whose second operand is a row of whole numbers."""

        def made(layer: Layer) -> None:
            row = self._file.constant(np.asarray(numbers(layer)[0], np.int32))
            operands = [self.value(layer.inputs[0]), row]
            self.define(layer.name, self._operator(name, operands, layer.shape, options))

        return made

    def _elementwise(self, layer: Layer) -> None:
        name = NAMES[layer.kind]
        operands, spatial = self.operands(layer)
        shape = _last(layer.shape) if spatial else layer.shape
        made = self._operator(name, operands, shape, OPTIONS.get(name, ""))
        self.define(layer.name, made, spatial=spatial)

    def _unary(self, layer: Layer, name: str, options: str, **fields: Any) -> None:
        operands, spatial = self.operands(layer)
        made = self._operator(name, operands, self._file.shape(operands[0]), options, **fields)
        self.define(layer.name, made, spatial=spatial)

    def _elu(self, layer: Layer) -> None:
        if layer.settings["alpha"] != 1:
            raise UnsupportedError(f"elu with alpha {layer.settings['alpha']:g} is not covered")
        self._unary(layer, "ELU", "")

    def _reduction(self, layer: Layer) -> None:
        axes = self._file.constant(np.asarray(layer.settings["axes"], np.int32))
        operands = [self.value(layer.inputs[0]), axes]
        keep = layer.settings["keep"]
        made = self._operator(NAMES[layer.kind], operands, layer.shape, "ReducerOptions", keepDims=keep)
        self.define(layer.name, made)

    def _softmax(self, layer: Layer) -> None:
        value, rank = self.value(layer.inputs[0]), len(layer.shape)
        order = [*range(rank)]
        order[layer.settings["axis"]], order[-1] = order[-1], order[layer.settings["axis"]]
        if order == sorted(order):
            made = self._operator("SOFTMAX", [value], layer.shape, "SoftmaxOptions", beta=1.0)
        else:
            last = self._transposed(value, order)
            shape = self._file.shape(last)
            made = self._transposed(
                self._operator("SOFTMAX", [last], shape, "SoftmaxOptions", beta=1.0), order
            )
        self.define(layer.name, made)

    def _slice(self, layer: Layer) -> None:
        begin = [0] * len(layer.shape)
        begin[layer.settings["axis"]] = layer.settings["start"]
        numbers = [self._file.constant(np.asarray(row, np.int32)) for row in (begin, layer.shape)]
        operands = [self.value(layer.inputs[0]), *numbers]
        self.define(layer.name, self._operator("SLICE", operands, layer.shape, "SliceOptions"))

    def _pad(self, layer: Layer) -> None:
        pairs = [*zip(layer.settings["before"], layer.settings["after"], strict=True)]
        made = self._padded(self.value(layer.inputs[0]), pairs, layer.settings["value"])
        self.define(layer.name, made)

    def _padded(self, value: int, pairs: list[tuple[int, int]], filled: float = 0.0) -> int:
        if not any(map(any, pairs)):
            return value
        before = self._file.shape(value)
        shape = tuple(size + sum(pair) for size, pair in zip(before, pairs, strict=True))
        rows = self._file.constant(np.asarray(pairs, np.int32))
        if filled == 0:
            return self._operator("PAD", [value, rows], shape, "PadOptions")
        number = self._file.constant(np.asarray([filled], np.float32))
        return self._operator("PADV2", [value, rows, number], shape, "PadV2Options")

    def _followed(self, layer: Layer) -> tuple[str, int]:
        """The value that a layer with an activation built in gives, and which that is."""
        relu = self._relus.get(layer.name)
        return (relu, RELU) if relu is not None and self._uses[layer.name] == 1 else (layer.name, 0)

    def _weight(self, name: str, array: Array, *, int8: bool) -> int:
        """A weight whose outputs are its first axis; steps of one LSTM share theirs."""
        if (name, int8) not in self._weights:
            if int8:
                scales = np.abs(array).reshape(len(array), -1).max(axis=1) / 127
                scales[scales == 0] = 1
                spread = scales.reshape(-1, *(1 for _ in array.shape[1:]))
                made = self._file.constant(np.round(array / spread).astype(np.int8), scales)
            else:
                made = self._file.constant(array)
            self._weights[name, int8] = made
        return self._weights[name, int8]

    def _linear(self, layer: Layer) -> None:
        array = self.graph.constants[layer.inputs[1]]
        int8 = self._int8 and array.size >= QUANTIZED_FROM
        operands = [self.value(layer.inputs[0]), self._weight(layer.inputs[1], array, int8=int8)]
        operands.append(self.value(layer.inputs[2]) if len(layer.inputs) > 2 else -1)
        name, activation = self._followed(layer)
        made = self._operator(
            "FULLY_CONNECTED",
            operands,
            layer.shape,
            "FullyConnectedOptions",
            fusedActivationFunction=activation,
            keepNumDims=len(layer.shape) != 2,
            asymmetricQuantizeInputs=int8,
        )
        self.define(name, made)

    def _convolution(self, layer: Layer) -> None:
        array, settings = self.graph.constants[layer.inputs[1]], layer.settings
        value = self.spatial(layer.inputs[0])
        kernel = array if array.ndim == 4 else array[:, :, None, :]
        one = [] if array.ndim == 4 else [1]
        stride, dilation = [*one, *settings["stride"]], [*one, *settings["dilation"]]
        padding = [*([] if array.ndim == 4 else [0]), *settings["padding"]]
        channels = self.shape(layer.inputs[0])[1]
        fields: dict[str, Any] = {
            "strideH": stride[0],
            "strideW": stride[1],
            "dilationHFactor": dilation[0],
            "dilationWFactor": dilation[1],
        }
        if all(
            step == 1 and 2 * amount == spread * (size - 1)
            for step, amount, spread, size in zip(stride, padding, dilation, kernel.shape[2:], strict=True)
        ):
            fields["padding"] = SAME
        else:
            fields["padding"] = VALID
            value = self._padded(value, [(0, 0), *((n, n) for n in padding), (0, 0)])
        name, fields["fusedActivationFunction"] = self._followed(layer)
        int8 = self._int8 and array.size >= QUANTIZED_FROM and settings["groups"] == 1
        if settings["groups"] == 1:
            weight = self._weight(layer.inputs[1], kernel.transpose(0, 2, 3, 1), int8=int8)
            operator, options = "CONV_2D", "Conv2DOptions"
        elif settings["groups"] == channels:
            weight = self._weight(layer.inputs[1], kernel.transpose(1, 2, 3, 0), int8=False)
            operator, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
            fields["depthMultiplier"] = len(array) // channels
        else:
            raise UnsupportedError(f"a convolution in {settings['groups']} groups is not covered")
        shape = _last(layer.shape)
        operands = [value, weight, self.value(layer.inputs[2])]
        self.define(name, self._operator(operator, operands, shape, options, **fields), spatial=True)

    def _pool(self, layer: Layer) -> None:
        settings = layer.settings
        (height, width), (down, right) = settings["kernel"], settings["stride"]
        made = self._operator(
            "MAX_POOL_2D" if settings["mode"] == "max" else "AVERAGE_POOL_2D",
            [self.spatial(layer.inputs[0])],
            _last(layer.shape),
            "Pool2DOptions",
            padding=VALID,
            filterHeight=height,
            filterWidth=width,
            strideH=down,
            strideW=right,
        )
        self.define(layer.name, made, spatial=True)


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[B, C, L] or [B, C, H, W] in LiteRT's order."""
    return (shape[0], 1, shape[2], shape[1]) if len(shape) == 3 else (shape[0], *shape[2:], shape[1])
