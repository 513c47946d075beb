"""Appends ops to a graph under construction, working out shapes; a view that changes nothing adds no op."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.expression import Expression, Number
from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Concat,
    Expand,
    Map,
    MatMul,
    Op,
    Permute,
    Reduce,
    ReduceKind,
    Reshape,
    Slice,
    Softmax,
    Value,
    Window,
)
from grandopt.signature import Array

Operand = Value | Number


class Builder:
    """Collects ops in order. Methods return the value that the new op computes."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._count = 0

    def value(self, shape: Sequence[int], dtype: str, data: Array | None = None) -> Value:
        """A new value that nothing computes yet."""
        self._count += 1
        prefix = "v" if data is None else "c"
        return Value(f"{prefix}{self._count}", tuple(int(n) for n in shape), dtype, data)

    def constant(self, data: Array) -> Value:
        """The constant `data`; equal constants are one value."""
        array = np.array(data, order="C")
        key = (array.dtype.name, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._constants:
            self._constants[key] = self.value(array.shape, array.dtype.name, array)
        return self._constants[key]

    def add(self, op: Op) -> Op:
        """Append an op made elsewhere."""
        self.ops.append(op)
        return op

    def map(self, name: str, *operands: Operand, dtype: str | None = None) -> Value:
        """The scalar function `name` of values and numbers, in `dtype` (default: the first value's)."""
        values = [operand for operand in operands if isinstance(operand, Value)]
        dtype = dtype or values[0].dtype
        leaves: list[Expression] = []
        for position, operand in enumerate(operands):
            this = "bool" if name == "where" and position == 0 else dtype
            if isinstance(operand, Value):
                leaf = ex.arg(values.index(operand), operand.dtype)
                leaves.append(ex.cast(leaf, this))
            else:
                leaves.append(ex.const(operand, this))
        return self.express(ex.apply(name, *leaves), *values)

    def express(self, expression: Expression, *values: Value) -> Value:
        """An element-wise op with any expression over `values`."""
        shape = np.broadcast_shapes(*(v.shape for v in values))
        output = self.value(shape, expression.dtype)
        self.ops.append(Map(values, (output,), expression))
        return output

    def cast(self, x: Value, dtype: str) -> Value:
        if x.dtype == dtype:
            return x
        if x.data is not None:
            return self.constant(x.data.astype(dtype))
        return self.express(ex.cast(ex.arg(0, x.dtype), dtype), x)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        if tuple(shape) == x.shape:
            return x
        if x.data is not None:
            return self.constant(x.data.reshape(tuple(shape)))
        return self._view(Reshape, x, shape)

    def permute(self, x: Value, axes: Sequence[int]) -> Value:
        if tuple(axes) == tuple(range(len(x.shape))):
            return x
        if x.data is not None:
            return self.constant(x.data.transpose(tuple(axes)))
        return self._view(Permute, x, [x.shape[a] for a in axes], axes=tuple(axes))

    def swap(self, x: Value, first: int, second: int) -> Value:
        """Exchange two axes (negative ones count from the end)."""
        axes = list(range(len(x.shape)))
        axes[first], axes[second] = axes[second], axes[first]
        return self.permute(x, axes)

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        if tuple(shape) == x.shape:
            return x
        if x.data is not None:
            return self.constant(np.broadcast_to(x.data, tuple(shape)))
        lead = (1,) * (len(shape) - len(x.shape))
        return self._view(Expand, self.reshape(x, (*lead, *x.shape)), shape)

    def slice(self, x: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
        axis %= len(x.shape)
        if size == x.shape[axis] and step == 1:
            return x
        if x.data is not None:
            return self.constant(np.take(x.data, [start + i * step for i in range(size)], axis=axis))
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return self._view(Slice, x, shape, axis=axis, start=start, step=step)

    def select(self, x: Value, axis: int, index: int) -> Value:
        axis %= len(x.shape)
        return self.drop(self.slice(x, axis, index % x.shape[axis], 1), axis)

    def drop(self, x: Value, axis: int) -> Value:
        """Without the axis of size 1."""
        axis %= len(x.shape)
        return self.reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :]))

    def window(
        self, x: Value, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
    ) -> Value:
        lead = len(x.shape) - len(sizes)
        spans = [d * (n - 1) + 1 for n, d in zip(sizes, dilations, strict=True)]
        positions = [(n - span) // s + 1 for n, span, s in zip(x.shape[lead:], spans, strides, strict=True)]
        return self._view(
            Window,
            x,
            (*x.shape[:lead], *positions, *sizes),
            sizes=tuple(sizes),
            strides=tuple(strides),
            dilations=tuple(dilations),
        )

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        axis %= len(parts[0].shape)
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        output = self.value(shape, parts[0].dtype)
        self.ops.append(Concat(tuple(parts), (output,), axis))
        return output

    def reduce(self, kind: ReduceKind, x: Value, axes: Sequence[int], keep: bool) -> Value:
        axes = tuple(sorted(axis % len(x.shape) for axis in axes))
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        output = self.value(shape, x.dtype)
        self.ops.append(Reduce((x,), (output,), kind, axes))
        return output if keep else self.reshape(output, [n for i, n in enumerate(shape) if i not in axes])

    def arg_reduce(self, x: Value, largest: bool) -> Value:
        output = self.value(x.shape[:-1], "int64")
        self.ops.append(ArgReduce((x,), (output,), largest))
        return output

    def softmax(self, x: Value, axis: int, log: bool) -> Value:
        last = self.swap(x, axis, -1) if x.shape else self.reshape(x, (1,))
        output = self.value(last.shape, x.dtype)
        self.ops.append(Softmax((last,), (output,), log))
        return self.swap(output, axis, -1) if x.shape else self.reshape(output, ())

    def matmul(self, a: Value, b: Value) -> Value:
        """Both with at least two axes, leading axes broadcast."""
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        output = self.value((*lead, a.shape[-2], b.shape[-1]), a.dtype)
        self.ops.append(MatMul((a, b), (output,)))
        return output

    def _view(self, kind: type[Op], x: Value, shape: Sequence[int], **attributes: Any) -> Value:
        output = self.value(shape, x.dtype)
        self.ops.append(kind((x,), (output,), **attributes))
        return output
