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
    Gather,
    Map,
    MatMul,
    Op,
    Pad,
    Permute,
    Reduce,
    ReduceKind,
    Reshape,
    Scan,
    ScanKind,
    Scatter,
    ScatterKind,
    Slice,
    Softmax,
    Sort,
    Value,
    Window,
)
from grandopt.signature import Array

Operand = Value | Number


class Builder:
    """Collects ops in order. Methods return the value that the new op computes.

    Values are named after `place`, the part of the network that is being translated.
    """

    def __init__(self) -> None:
        self.place = ""
        self.ops: list[Op] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._count = 0

    def value(self, shape: Sequence[int], dtype: str, data: Array | None = None) -> Value:
        """A new value that nothing computes yet."""
        self._count += 1
        prefix = "v" if data is None else "c"
        name = f"{self.place} {prefix}{self._count}".lstrip()
        return Value(name, tuple(int(n) for n in shape), dtype, data)

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

    def arg_reduce(self, x: Value, largest: bool, last_nan: bool = False) -> Value:
        output = self.value(x.shape[:-1], "int64")
        self.ops.append(ArgReduce((x,), (output,), largest, last_nan))
        return output

    def gather(self, table: Value, indices: Value) -> Value:
        """Rows of the table; an index outside of it fails the call."""
        whole = self.cast(indices, "int64")
        if table.data is not None and whole.data is not None:
            return self.constant(table.data[whole.data])
        output = self.value((*whole.shape, *table.shape[1:]), table.dtype)
        self.ops.append(Gather((table, whole), (output,)))
        return output

    def take(self, x: Value, places: Array) -> Value:
        """Elements of the last axis, at constant places of any shape: [..., L] → [..., *places]."""
        rank, lead = places.ndim, len(x.shape) - 1
        rows = self.permute(x, (lead, *range(lead)))
        picked = self.gather(rows, self.constant(places.astype(np.int64)))
        return self.permute(picked, (*range(rank, rank + lead), *range(rank)))

    def border(self, x: Value, before: Sequence[int], after: Sequence[int], fill: float) -> Value:
        """The last axes with so many elements of `fill` ahead and behind; fewer than none cuts off."""
        lead = len(x.shape) - len(before)
        for axis, (ahead, behind) in enumerate(zip(before, after, strict=True), start=lead):
            keep = x.shape[axis] + min(ahead, 0) + min(behind, 0)
            x = self.slice(x, axis, max(-ahead, 0), keep)
        starts = (*(0,) * lead, *(max(n, 0) for n in before))
        ends = (*(0,) * lead, *(max(n, 0) for n in after))
        if not any((*starts, *ends)):
            return x
        shape = [n + a + b for n, a, b in zip(x.shape, starts, ends, strict=True)]
        output = self.value(shape, x.dtype)
        self.ops.append(Pad((x,), (output,), starts, fill))
        return output

    def scan(self, kind: ScanKind, x: Value) -> tuple[Value, ...]:
        outputs = [self.value(x.shape, x.dtype)]
        if kind in ("max", "min"):
            outputs.append(self.value(x.shape, "int64"))
        self.ops.append(Scan((x,), tuple(outputs), kind))
        return tuple(outputs)

    def sort(self, x: Value, descending: bool) -> tuple[Value, Value]:
        values, indices = self.value(x.shape, x.dtype), self.value(x.shape, "int64")
        self.ops.append(Sort((x,), (values, indices), descending))
        return values, indices

    def scatter(self, kind: ScatterKind, base: Value, places: Value, values: Value) -> Value:
        """The base, with each value combined into its place in the flattened base."""
        flat = (self.reshape(base, (base.elements,)), self.reshape(places, (places.elements,)))
        given = self.reshape(self.expand(values, places.shape), (places.elements,))
        output = self.value((base.elements,), base.dtype)
        self.ops.append(Scatter((*flat, given), (output,), kind))
        return self.reshape(output, base.shape)

    def softmax(self, x: Value, axis: int, log: bool) -> Value:
        """The soft maximum along an axis, or its logarithm; what is not float32 is made of simpler ops."""
        if x.dtype != "float32":
            return self._plain_softmax(x, axis, log)
        last = self.swap(x, axis, -1) if x.shape else self.reshape(x, (1,))
        output = self.value(last.shape, x.dtype)
        self.ops.append(Softmax((last,), (output,), log))
        return self.swap(output, axis, -1) if x.shape else self.reshape(output, ())

    def _plain_softmax(self, x: Value, axis: int, log: bool) -> Value:
        if not x.shape:
            return self.reshape(self._plain_softmax(self.reshape(x, (1,)), 0, log), ())
        shifted = self.map("sub", x, self.reduce("max", x, [axis], True))
        powers = self.map("exp", shifted)
        total = self.reduce("sum", powers, [axis], True)
        return self.map("sub", shifted, self.map("log", total)) if log else self.map("div", powers, total)

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
