"""Arithmetic on shapes and strides, all in elements."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]


def row_major(shape: Sequence[int]) -> Shape:
    """Strides of a contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def reshaped(shape: Shape, strides: Shape, target: Shape) -> Shape | None:
    """Strides of the same elements in row-major order under the shape `target`; None if that needs a copy."""
    sizes, steps = _merged(shape, strides)
    result: list[int] = []
    position = len(sizes) - 1
    left = sizes[position] if sizes else 1
    step = steps[position] if sizes else 0
    for size in reversed(target):
        if size == 1:
            result.append(0)
            continue
        while left == 1 and position > 0:
            position -= 1
            left, step = sizes[position], steps[position]
        if left % size:
            return None
        result.append(step)
        step *= size
        left //= size
    return tuple(reversed(result))


def _merged(shape: Shape, strides: Shape) -> tuple[list[int], list[int]]:
    """Without the axes of size 1, and neighbours joined that are one run."""
    sizes: list[int] = []
    steps: list[int] = []
    for size, step in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if sizes and steps[-1] == step * size:
            sizes[-1] *= size
            steps[-1] = step
        else:
            sizes.append(size)
            steps.append(step)
    return sizes, steps


def broadcast(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Strides that repeat the tensor to the shape `target`: 0 along broadcast axes."""
    lead = len(target) - len(shape)
    kept = (0 if size == 1 else step for size, step in zip(shape, strides, strict=True))
    return (*(0,) * lead, *kept)


def collapse(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The fewest loops that walk all operands: sizes, and per operand its strides.

    Axes of size 1 go away; neighbours are joined where they are one run in every operand.
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in operands]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        here = [strides[axis] for strides in operands]
        if sizes and all(s[-1] == step * size for s, step in zip(steps, here, strict=True)):
            sizes[-1] *= size
            for s, step in zip(steps, here, strict=True):
                s[-1] = step
        else:
            sizes.append(size)
            for s, step in zip(steps, here, strict=True):
                s.append(step)
    return sizes, steps
