"""A LiteRT model as it is put together: tensors, operators and buffers of one `.tflite` file.

Imported in LiteRT's environment: its package has the classes of the file's schema, and flatbuffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from grandopt.signature import Array

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

OLDEST = {schema.BuiltinOperator.BROADCAST_TO: 2}
"""The oldest version of an operator, where LiteRT has no first one any more."""

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
    "bool": schema.TensorType.BOOL,
}


class LiteRtFile:
    """One model with one subgraph. Tensors are known by their numbers."""

    def __init__(self) -> None:
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers = [schema.BufferT()]  # the first is the empty one, of whatever is computed
        self._codes: dict[int, int] = {}
        self.computed: set[int] = set()

    def tensor(self, shape: Sequence[int], dtype: str = "float32") -> int:
        """A tensor that is computed or given."""
        return self._tensor(shape, dtype, 0)

    def constant(self, array: Array, scales: Array | None = None) -> int:
        """A tensor with its contents; `scales` of the first axis make it a quantized one."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self._buffers.append(buffer)
        number = self._tensor(array.shape, array.dtype.name, len(self._buffers) - 1)
        if scales is not None:
            quantized = schema.QuantizationParametersT()
            quantized.scale = scales.astype(np.float32)
            quantized.zeroPoint = np.zeros(len(scales), np.int64)
            quantized.quantizedDimension = 0
            self._graph.tensors[number].quantization = quantized
        return number

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self._graph.tensors[tensor].shape)

    def operator(
        self, name: str, inputs: Sequence[int], output: int, options: str = "", **fields: Any
    ) -> int:
        """Add an operator with one output, which is returned; `fields` are those of its `options`."""
        code = getattr(schema.BuiltinOperator, name)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        made.inputs, made.outputs = list(inputs), [output]
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                setattr(made.builtinOptions, field, value)
        self._graph.operators.append(made)
        self.computed.add(output)
        return output

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = SCHEMA_VERSION, [self._graph], self._buffers
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, shape: Sequence[int], dtype: str, buffer: int) -> int:
        made = schema.TensorT()
        made.shape, made.type, made.buffer = list(shape), TYPES[dtype], buffer
        made.name = f"t{len(self._graph.tensors)}"
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1


def _operator_code(code: int) -> Any:
    made = schema.OperatorCodeT()
    # Files had one byte for it once, and 127 where that is too small.
    made.builtinCode, made.deprecatedBuiltinCode = code, min(code, 127)
    made.version = OLDEST.get(code, 1)
    return made
