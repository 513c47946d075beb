"""Where every value lives: views become strides, concatenations and outputs are written in place.

A place is decided backwards for values that end up in an output or in a part of a concatenation, so that
their producer writes them there; all other values get a buffer of their own, in forward order. Where an op
needs another layout than its operand has, a copy is inserted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Attention,
    Concat,
    Convolve,
    Expand,
    Gather,
    Graph,
    Linear,
    Map,
    MatMul,
    Normalize,
    Op,
    Pad,
    Permute,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Reshape,
    Scan,
    Scatter,
    Slice,
    Softmax,
    Sort,
    Value,
    View,
    Window,
)
from grandopt.compiler.backends.native.operation import OperandRole
from grandopt.compiler.backends.native.strides import Shape, broadcast, reshaped, row_major

BufferKind = Literal["input", "output", "constant", "scratch"]


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of one sample. `index` numbers inputs and outputs; `value` is set for constants."""

    kind: BufferKind
    elements: int
    dtype: str
    index: int = 0
    value: Value | None = None


@dataclass(frozen=True)
class ValuePlace:
    """A tensor within a buffer; `offset` and `strides` in elements."""

    buffer: Buffer
    offset: int
    shape: Shape
    strides: Shape

    @property
    def inner(self) -> int:
        """Distance of neighbours along the last axis; 1 where there is only one element."""
        return 1 if not self.shape or self.shape[-1] == 1 else self.strides[-1]

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        expected = row_major(self.shape)
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.strides, expected, strict=True))


@dataclass(frozen=True, eq=False)
class Step:
    """An op that computes or copies, with its operands placed. Operands that are packed weights are None."""

    op: Op
    inputs: tuple[ValuePlace | None, ...]
    outputs: tuple[ValuePlace, ...]

    @property
    def places(self) -> Iterable[ValuePlace]:
        return (place for place in (*self.inputs, *self.outputs) if place is not None)


@dataclass
class Layout:
    """All steps of a graph in order."""

    graph: Graph
    steps: list[Step] = field(default_factory=list)


def lay_out(graph: Graph) -> Layout:
    """Place every value of the graph."""
    return _Placement(graph).run()


class _Placement:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._layout = Layout(graph)
        self._producers = graph.producers()
        self._places: dict[Value, ValuePlace] = {}
        self._outputs = [
            _whole(Buffer("output", value.elements, value.dtype, index), value.shape)
            for index, value in enumerate(graph.outputs)
        ]

    def run(self) -> Layout:
        for index, value in enumerate(self._graph.inputs):
            self._places[value] = _whole(Buffer("input", value.elements, value.dtype, index), value.shape)
        # The outputs' places are offered first: what the caller reads must end there anyway. Then backwards,
        # because where a part or the input of a view should lie follows from what is made of it.
        for value, place in zip(self._graph.outputs, self._outputs, strict=True):
            self._offer(value, place)
        for op in reversed(self._graph.ops):
            self._destine(op)
        for op in self._graph.ops:
            self._place(op)
        for value, place in zip(self._graph.outputs, self._outputs, strict=True):
            # Not there are inputs and constants that are returned, and values that are returned twice.
            self._copy_unless_there(self._at(value), place)
        return self._layout

    def _offer(self, value: Value, place: ValuePlace) -> None:
        """Let the producer of `value` write to `place`, unless it already has one or cannot."""
        producer = self._producers.get(value)
        if producer is not None and value not in self._places and _can_write(producer, place):
            self._places[value] = place

    def _destine(self, op: Op) -> None:
        if isinstance(op, Concat):
            # It may have a place within an output or a larger concatenation, which its parts then share.
            place = self._places.setdefault(op.output, _fresh(op.output))
            for value, part in zip(op.parts, _parts(op, place), strict=True):
                self._offer(value, part)
        elif isinstance(op, Pad):
            # What is padded is written within the border at once; the step is then left to fill the border.
            place = self._places.setdefault(op.output, _fresh(op.output))
            start = sum(before * step for before, step in zip(op.before, place.strides, strict=True))
            self._offer(op.x, ValuePlace(place.buffer, place.offset + start, op.x.shape, place.strides))
        elif isinstance(op, (Reshape, Permute)) and (op.output in self._places or self._turned(op)):
            # Only these views hold every element of their input once, so that writing them writes it whole.
            place = self._places.setdefault(op.output, _fresh(op.output))
            strides = _strides_before(op, place)
            if strides is not None:
                self._offer(op.x, ValuePlace(place.buffer, place.offset, op.x.shape, strides))

    def _turned(self, op: Reshape | Permute) -> bool:
        """Whether the output would be a copy of what an op computed, unless that writes it as it is here."""
        if not isinstance(op, Reshape):
            return False
        views: list[Reshape | Permute] = [op]
        producer = self._producers.get(op.x)
        while isinstance(producer, (Reshape, Permute)):
            views.append(producer)
            producer = self._producers.get(producer.x)
        if producer is None or isinstance(producer, View):
            return False
        seen: ValuePlace | None = _fresh(views[-1].x)
        for view in reversed(views):
            seen = None if seen is None else _view(view, seen)
        return seen is None

    def _place(self, op: Op) -> None:
        if isinstance(op, View):
            self._place_view(op)
        elif isinstance(op, Concat):
            for value, part in zip(op.parts, _parts(op, self._places[op.output]), strict=True):
                self._copy_unless_there(self._at(value), part)
        else:
            inputs = tuple(self._operand(op, op.role(i), value) for i, value in enumerate(op.inputs))
            outputs = tuple(self._places.setdefault(value, _fresh(value)) for value in op.outputs)
            self._layout.steps.append(Step(op, inputs, outputs))

    def _place_view(self, op: View) -> None:
        source = self._at(op.x)
        seen = _view(op, source)
        if seen is None:
            seen = _view(op, self._copied(source))
            assert seen is not None  # a contiguous tensor takes any shape
        # One that was destined elsewhere, but whose input could not be written there, is copied after all.
        wanted = self._places.setdefault(op.output, seen)
        self._copy_unless_there(seen, wanted)

    def _operand(self, op: Op, role: OperandRole, value: Value) -> ValuePlace | None:
        if role.constant:  # the kernel packs it in its own way, so that as it is it need not be stored
            return None
        place = self._at(value)
        return place if _can_read(op, role.name, place) else self._copied(place)

    def _at(self, value: Value) -> ValuePlace:
        if value.data is not None and value not in self._places:
            buffer = Buffer("constant", value.elements, value.dtype, value=value)
            self._places[value] = _whole(buffer, value.shape)
        return self._places[value]

    def _copied(self, place: ValuePlace) -> ValuePlace:
        buffer = Buffer("scratch", _count(place.shape), place.buffer.dtype)
        target = _whole(buffer, place.shape)
        self._copy_unless_there(place, target)
        return target

    def _copy_unless_there(self, source: ValuePlace, target: ValuePlace) -> None:
        if _same(source, target):
            return
        dtype = source.buffer.dtype
        values = (Value("source", source.shape, dtype), Value("copy", target.shape, dtype))
        # The kernel of a Map reads and writes any strides.
        copy = Map(values[:1], values[1:], ex.arg(0, dtype))
        self._layout.steps.append(Step(copy, (source,), (target,)))


def _same(a: ValuePlace, b: ValuePlace) -> bool:
    strides = zip(a.shape, a.strides, b.strides, strict=True)
    # The stride of an axis of size 1 is never used, and `reshaped` and `row_major` disagree about it.
    return a.buffer is b.buffer and a.offset == b.offset and all(n == 1 or s == t for n, s, t in strides)


def _whole(buffer: Buffer, shape: Shape) -> ValuePlace:
    return ValuePlace(buffer, 0, shape, row_major(shape))


def _fresh(value: Value) -> ValuePlace:
    return _whole(Buffer("scratch", value.elements, value.dtype), value.shape)


def _count(shape: Shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _parts(op: Concat, place: ValuePlace) -> list[ValuePlace]:
    parts, start = [], 0
    for value in op.parts:
        offset = place.offset + start * place.strides[op.axis]
        parts.append(ValuePlace(place.buffer, offset, value.shape, place.strides))
        start += value.shape[op.axis]
    return parts


def _strides_before(op: Reshape | Permute, place: ValuePlace) -> Shape | None:
    """The strides of the view's input where its output lies at `place`; None if no strides say that."""
    if isinstance(op, Reshape):
        return reshaped(place.shape, place.strides, op.x.shape)
    back = sorted(range(len(op.axes)), key=lambda axis: op.axes[axis])
    return tuple(place.strides[axis] for axis in back)


def _view(op: View, place: ValuePlace) -> ValuePlace | None:
    """The place that the view's output has within its input's buffer; None if that needs a copy."""
    shape, offset, strides = op.outputs[0].shape, place.offset, list(place.strides)
    match op:
        case Reshape():
            found = reshaped(place.shape, place.strides, shape)
            return None if found is None else ValuePlace(place.buffer, offset, shape, found)
        case Permute():
            return ValuePlace(place.buffer, offset, shape, tuple(strides[axis] for axis in op.axes))
        case Expand():  # strides of 0: it can be read, but nothing is ever written through it
            return ValuePlace(place.buffer, offset, shape, broadcast(place.shape, place.strides, shape))
        case Slice():
            offset += op.start * strides[op.axis]
            strides[op.axis] *= op.step
            return ValuePlace(place.buffer, offset, shape, tuple(strides))
        case Window():
            lead = len(strides) - len(op.sizes)
            moves = [s * step for s, step in zip(strides[lead:], op.strides, strict=True)]
            taps = [s * step for s, step in zip(strides[lead:], op.dilations, strict=True)]
            return ValuePlace(place.buffer, offset, shape, (*strides[:lead], *moves, *taps))
    raise TypeError(f"{type(op).__name__} is not a view with strides")


def _can_write(op: Op, place: ValuePlace) -> bool:
    """Whether the kernel of `op` can write its first output to such a place."""
    # Kernels over rows store neighbours side by side; those that gather or scatter copy whole blocks.
    match op:
        case Linear() | Convolve() | MatMul() | Attention() | Normalize() | Softmax() | Recurrent():
            return place.inner == 1
        case QuantizedLinear() | QuantizedRecurrent():
            return place.inner == 1
        case Scan() | Sort():
            return place.inner == 1
        case Gather() | Scatter():
            return place.contiguous
    return True


def _can_read(op: Op, operand: str, place: ValuePlace) -> bool:
    """Whether the kernel of `op` can read its operand of that name from such a place."""
    match op:
        case MatMul() if operand == "a":
            return True  # it is read one element at a time, each for a whole vector of the right-hand side
        case Convolve() if operand == "x" and not op.depthwise:
            return True  # likewise
        case Attention() if operand == "keys":
            return place.inner == 1 or place.strides[-2] == 1 or place.shape[-2] == 1  # it turns them
        case Linear() | Convolve() | MatMul() | Attention() | Normalize() | QuantizedLinear():
            # An epilogue loads a vector of neighbours, or one number into all lanes.
            return place.inner == 1 or (operand == "extras" and place.inner == 0)
        case Recurrent() | Quantize() | QuantizedRecurrent():
            return place.inner == 1
        case Softmax() | ArgReduce() | Scan() | Sort():
            return place.inner == 1
        case Gather() | Scatter():
            return place.contiguous
    return True
