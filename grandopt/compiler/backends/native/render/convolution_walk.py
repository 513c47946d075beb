"""How a convolution is walked: positions that have the same taps, loops over taps, rows that lie unevenly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.form import Convolve
from grandopt.compiler.backends.native.render.text import offset
from grandopt.compiler.backends.native.render.weights import GRANULE


@dataclass(frozen=True)
class Segment:
    """Positions along one axis whose taps `taps[0] … taps[1] − 1` lie within x, and only these."""

    first: int
    count: int
    taps: tuple[int, int]


def segments(op: Convolve, axis: int) -> list[Segment]:
    """The positions along a spatial axis in runs, from the first to the last."""
    size, taps = op.x.shape[1 + axis], op.weight.shape[1 + axis]
    step, apart, before = op.strides[axis], op.dilations[axis], op.before[axis]
    found: list[Segment] = []
    for position in range(op.output.shape[1 + axis]):
        start = position * step - before
        inside = [tap for tap in range(taps) if 0 <= start + tap * apart < size]
        bounds = (inside[0], inside[-1] + 1) if inside else (0, 0)
        if found and found[-1].taps == bounds:
            found[-1] = Segment(found[-1].first, found[-1].count + 1, bounds)
        else:
            found.append(Segment(position, 1, bounds))
    return found


@dataclass(frozen=True)
class Taps:
    """Loops over the depth, the innermost last: turns, steps in x, and steps in the rows of the weights."""

    start: int
    sizes: Sequence[int]
    in_x: Sequence[int]
    in_w: Sequence[int]

    @property
    def depth(self) -> int:
        return self.sizes[-1]

    @property
    def nest(self) -> list[tuple[str, int]]:
        return [(f"t{axis}", size) for axis, size in enumerate(self.sizes[:-1])]

    def source(self, k: str) -> str:
        """The distance of a step from the beginning of its row."""
        inner = f"({k}) * {self.in_x[-1]}"
        return f"at + {inner}" if self.nest else inner

    def words(self, base: str) -> str:
        """Pointer to the first columns' weights of the innermost loop."""
        return "there" if self.nest else f"{base} + {self.start * GRANULE}"

    def declarations(self, base: str, paired: bool) -> list[str]:
        """What the loops around the innermost one compute for it."""
        if not self.nest:
            return []
        names = [name for name, _ in self.nest]
        walk = offset(list(zip(names, self.in_x[:-1], strict=True)))
        weights = offset([(n, s * GRANULE) for n, s in zip(names, self.in_w[:-1], strict=True)])
        ctype = "uint32_t" if paired else "float"
        return [
            f"const int64_t at = {walk};",
            f"const {ctype} *const there = {base} + {self.start * GRANULE} + {weights};",
        ]


def walk_of(sizes: Sequence[int], strides: Sequence[int]) -> Callable[[str], str]:
    """The offset of a row whose number counts through loops of these sizes."""

    def at(row: str) -> str:
        terms, inner = [], 1
        for axis in reversed(range(len(sizes))):
            index = f"({row}) / {inner}" if inner > 1 else f"({row})"
            if axis:
                index = f"{index} % {sizes[axis]}"
            if strides[axis]:
                terms.append(f"{index} * {strides[axis]}")
            inner *= sizes[axis]
        return " + ".join(terms) or "0"

    return at
