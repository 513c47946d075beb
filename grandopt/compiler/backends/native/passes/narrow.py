"""Only what is read is computed: slices of results move into the ops that compute them.

What an op's readers need is told along each axis, backwards through element-wise ops, convolutions and
views: of a causal network whose last step counts, each layer is left with the few positions that step sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from grandopt.compiler.backends.native.form import Convolve, Graph, Map, Op, Permute, Slice, Value
from grandopt.compiler.backends.native.passes.rewrite import rebuilt, redirect


@dataclass(frozen=True)
class _Need:
    """Elements along an axis, and a number that divides all distances that readers step by."""

    elements: frozenset[int]
    divisor: int = 0

    def __or__(self, other: _Need) -> _Need:
        return _Need(self.elements | other.elements, math.gcd(self.divisor, other.divisor))

    @property
    def held(self) -> _Held:
        """The evenly spaced elements that contain them."""
        first, last = min(self.elements), max(self.elements)
        step = math.gcd(self.divisor, *(element - first for element in self.elements)) or 1
        return _Held(first, step, (last - first) // step + 1)


@dataclass(frozen=True)
class _Held:
    """The elements `start + step · i` of an axis, for i below `count`."""

    start: int
    step: int
    count: int

    def at(self, element: int) -> int:
        """Where among them an element of the axis is; outside if it is none of the axis."""
        return (element - self.start) // self.step


Needs = tuple[_Need, ...]


def narrow(graph: Graph) -> Graph:
    """The graph in which element-wise ops, views and convolutions compute what others read of them."""
    needs = _needs(graph)
    held: dict[Value, tuple[_Held, ...]] = {}
    now: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in graph.ops:
        if not isinstance(op, (Map, Permute, Slice, Convolve)):
            ops.append(redirect(op, now))
            continue
        output = op.output
        kept = tuple(need.held for need in needs[output]) if output in needs else _all_held(output)
        if isinstance(op, Convolve):  # whose samples and channels are computed as a whole
            whole = _all_held(output)
            kept = (whole[0], *kept[1:-1], whole[-1])
        made = _narrowed(op, kept, held, now, ops)
        if _nothing(made):
            now[output] = made.inputs[0]
        else:
            ops.append(made)
            if made.output is not output:
                now[output] = made.output
        held[output] = kept
    return rebuilt(graph, ops, now)


def _nothing(op: Op) -> bool:
    """Whether it is a slice of everything."""
    return isinstance(op, Slice) and op.x.shape == op.output.shape and (op.start, op.step) == (0, 1)


def _needs(graph: Graph) -> dict[Value, Needs]:
    """What is read of each value that something reads."""
    needs: dict[Value, Needs] = {value: _all(value) for value in graph.outputs}
    for op in reversed(graph.ops):
        for value, need in _read(op, needs):
            known = needs.get(value)
            needs[value] = need if known is None else tuple(a | b for a, b in zip(known, need, strict=True))
    return needs


def _read(op: Op, needs: Mapping[Value, Needs]) -> Iterable[tuple[Value, Needs]]:
    wanted = needs.get(op.outputs[0])
    if wanted is None or not isinstance(op, (Map, Permute, Slice, Convolve)):
        return [(value, _all(value)) for value in op.inputs if value.data is None]
    match op:
        case Map():
            return [(value, _broadcast(value, wanted)) for value in op.inputs if value.data is None]
        case Permute():
            back = sorted(range(len(op.axes)), key=lambda axis: op.axes[axis])
            return [(op.x, tuple(wanted[axis] for axis in back))]
        case Slice():
            axis = wanted[op.axis]
            inside = _Need(
                frozenset(op.start + op.step * i for i in axis.elements), abs(op.step) * axis.divisor
            )
            return [(op.x, (*wanted[: op.axis], inside, *wanted[op.axis + 1 :]))]
        case Convolve():
            taken = (_all(op.x)[0], *(_taken(op, i, wanted[1 + i]) for i in range(len(op.strides))))
            extras = [(value, _broadcast(value, wanted)) for value in op.extras if value.data is None]
            return [(op.x, (*taken, _all(op.x)[-1])), *extras]


def _taken(op: Convolve, axis: int, wanted: _Need) -> _Need:
    """What a convolution reads along a spatial axis for the positions that are wanted."""
    size, taps = op.x.shape[1 + axis], op.weight.shape[1 + axis]
    step, apart, before = op.strides[axis], op.dilations[axis], op.before[axis]
    positions = wanted.held
    starts = [(positions.start + positions.step * i) * step - before for i in range(positions.count)]
    read = frozenset(e for start in starts for tap in range(taps) if 0 <= (e := start + tap * apart) < size)
    moves = positions.step * step if positions.count > 1 else 0
    # Where nothing but the border is read, any element will do, and 1 divides whatever the distances are.
    return _Need(read or frozenset((0,)), math.gcd(moves, apart if taps > 1 else 0) if read else 1)


def _broadcast(value: Value, wanted: Needs) -> Needs:
    """What an operand of that shape gives to the elements that are wanted."""
    lead = len(wanted) - len(value.shape)
    pairs = zip(value.shape, wanted[lead:], strict=True)
    return tuple(_Need(frozenset((0,))) if size == 1 else need for size, need in pairs)


def _all(value: Value) -> Needs:
    return tuple(_Need(frozenset(range(size)), 1) for size in value.shape)


def _all_held(value: Value) -> tuple[_Held, ...]:
    return tuple(_Held(0, 1, size) for size in value.shape)


def _narrowed(
    op: Map | Permute | Slice | Convolve,
    kept: tuple[_Held, ...],
    held: Mapping[Value, tuple[_Held, ...]],
    now: Mapping[Value, Value],
    ops: list[Op],
) -> Op:
    """The op that computes what is kept of its output, from what is held of its inputs."""
    shape = tuple(axis.count for axis in kept)
    output = op.output
    if shape != output.shape:
        output = Value(f"{output.name}_read", shape, output.dtype)
    outputs = (output,)

    def given(value: Value) -> tuple[Value, tuple[_Held, ...]]:
        return now.get(value, value), held.get(value, _all_held(value))

    def exactly(value: Value) -> Value:
        source, has = given(value)
        lead = len(kept) - len(value.shape)
        for axis, (inside, wanted) in enumerate(zip(has, kept[lead:], strict=True)):
            if value.shape[axis] > 1:
                source = _sliced(source, axis, inside, wanted, ops)
        return source

    match op:
        case Map():
            return replace(op, inputs=tuple(exactly(value) for value in op.inputs), outputs=outputs)
        case Permute():
            source, has = given(op.x)
            for axis, from_axis in enumerate(op.axes):
                source = _sliced(source, from_axis, has[from_axis], kept[axis], ops)
            return replace(op, inputs=(source,), outputs=outputs)
        case Slice():
            source, has = given(op.x)
            for axis, (inside, wanted) in enumerate(zip(has, kept, strict=True)):
                if axis != op.axis:
                    source = _sliced(source, axis, inside, wanted, ops)
            inside, wanted = has[op.axis], kept[op.axis]
            start = inside.at(op.start + op.step * wanted.start)
            step = op.step * wanted.step // inside.step if wanted.count > 1 else 1
            return Slice((source,), outputs, op.axis, start, step)
        case Convolve():
            source, has = given(op.x)
            extras = tuple(exactly(value) for value in op.extras)
            moved = [_moved(op, i, has[1 + i], kept[1 + i]) for i in range(len(op.strides))]
            strides, dilations, before = zip(*moved, strict=True)
            inputs = (source, op.weight, op.bias, *extras)
            return Convolve(inputs, outputs, strides, dilations, before, op.epilogue)


def _sliced(source: Value, axis: int, inside: _Held, wanted: _Held, ops: list[Op]) -> Value:
    """Of what is held along an axis, what is wanted."""
    if inside == wanted or source.shape[axis] == wanted.count:
        return source
    shape = (*source.shape[:axis], wanted.count, *source.shape[axis + 1 :])
    name = f"{source.name}_{axis}_{wanted.start}_{wanted.step}_{len(ops)}"
    step = wanted.step // inside.step if wanted.count > 1 else 1
    if source.data is not None:
        places = inside.at(wanted.start) + step * np.arange(wanted.count)
        return Value(name, shape, source.dtype, np.take(source.data, places, axis))
    output = Value(name, shape, source.dtype)
    ops.append(Slice((source,), (output,), axis, inside.at(wanted.start), step))
    return output


def _moved(op: Convolve, axis: int, inside: _Held, wanted: _Held) -> tuple[int, int, int]:
    """Stride, dilation and border of a convolution that computes and reads fewer positions."""
    step, apart, before = op.strides[axis], op.dilations[axis], op.before[axis]
    start = wanted.start * step - before
    stride = wanted.step * step // inside.step if wanted.count > 1 else 1
    dilation = apart // inside.step if op.weight.shape[1 + axis] > 1 else 1
    return stride, dilation, -inside.at(start)
