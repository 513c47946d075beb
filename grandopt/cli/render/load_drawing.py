"""Latency over throughput, drawn with letters: as legible in a log file as on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration, rate

WIDTH, HEIGHT = 64, 14
MARGIN = 10
"""Columns for what stands left of the axis."""
LETTERS = "ABCDEFGH"
BOTH = "*"

Curve = tuple[str, Sequence[tuple[float, float]]]
"""A name, and points: answers a second, and µs. Both above 0."""


def drawing(curves: Sequence[Curve], width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The curves on log axes, each with a letter, `width` + 12 columns wide; no line where no point is.

    Points are joined in their order, so that a curve turns back where more load brings fewer answers.
    """
    drawn = [(name, points) for name, points in curves if points]
    if not drawn:
        return []
    across = _Axis([x for _, points in drawn for x, _ in points], width)
    up = _Axis([y for _, points in drawn for _, y in points], height)
    grid = [[" "] * width for _ in range(height)]
    for _, points in drawn:
        places = [(across.place(x), up.place(y)) for x, y in points]
        for before, after in pairwise(places):
            _join(grid, before, after)
    for letter, (_, points) in zip(LETTERS, drawn, strict=False):
        for x, y in points:
            row, column = grid[up.place(y)], across.place(x)
            row[column] = letter if row[column] in (" ", ".", letter) else BOTH
    rows = [
        f"{_label(up, place):>{MARGIN}} |{''.join(grid[place]).rstrip()}" for place in reversed(range(height))
    ]
    names = [
        f"{letter:>{MARGIN}} {one_line(name)}" for letter, (name, _) in zip(LETTERS, drawn, strict=False)
    ]
    return [
        "p99 latency",
        *(row.rstrip() for row in rows),
        " " * (MARGIN + 1) + "+" + "-" * width,
        " " * (MARGIN + 2) + _scale(across),
        " " * (MARGIN + 2) + "answers a second",
        *names,
    ]


class _Axis:
    """A log scale over so many places, from a power of ten times 1, 2 or 5 to another."""

    def __init__(self, values: Sequence[float], places: int) -> None:
        low, high = min(values), max(values)
        self.ticks = _steps(low, high)
        self.low, self.high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        self.places = places

    def place(self, value: float) -> int:
        share = (math.log(value) - self.low) / (self.high - self.low)
        return round(share * (self.places - 1))


def _steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 … from at most `low` to at least `high`, two at least."""
    decade = 10.0 ** math.floor(math.log10(low))
    steps: list[float] = []
    while not steps or steps[-1] < high * (1 - 1e-12) or len(steps) < 2:
        steps += [decade, 2 * decade, 5 * decade]
        decade *= 10
    while len(steps) > 2 and steps[1] <= low:
        del steps[0]
    while len(steps) > 2 and steps[-2] >= high:
        del steps[-1]
    return steps


def _label(axis: _Axis, place: int) -> str:
    return next((duration(tick) for tick in axis.ticks if axis.place(tick) == place), "")


def _scale(axis: _Axis) -> str:
    """The ticks of the axis across, as many as have room."""
    line = ""
    for tick in axis.ticks:
        text, at = rate(tick), axis.place(tick)
        start = min(at, axis.places - len(text))
        if start >= len(line) + (2 if line else 0):
            line = line.ljust(start) + text
    return line


def _join(grid: list[list[str]], before: tuple[int, int], after: tuple[int, int]) -> None:
    steps = max(abs(after[0] - before[0]), abs(after[1] - before[1]))
    for step in range(1, steps):
        column = round(before[0] + (after[0] - before[0]) * step / steps)
        row = round(before[1] + (after[1] - before[1]) * step / steps)
        if grid[row][column] == " ":
            grid[row][column] = "."
