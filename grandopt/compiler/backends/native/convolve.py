"""The convolution of the form."""

from __future__ import annotations

import math
from dataclasses import dataclass

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.operation import Op, Operand, Operands


@dataclass(frozen=True, eq=False)
class Convolve(Op):
    """x [1, spatial…, C], weight [N, kernel…, C], bias [N], extras… → [1, positions…, N], channels last.

    output[p] = epilogue(Σ x[p · stride + tap · dilation − before] · weight[:, tap]ᵀ + bias, extras…), summed
    over all taps that lie within x. With weight [C, kernel…, 1] each channel has taps of its own (depthwise).
    """

    x = Operand(0)
    weight = Operand(1, constant=True)
    bias = Operand(2, constant=True)
    extras = Operands(3)

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    epilogue: Expression | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each channel has its own taps."""
        return self.x.shape[-1] != self.weight.shape[-1]

    @property
    def multiply_adds(self) -> int:
        """Those of the taps that lie within x."""
        return (
            self.output.shape[-1]
            * self.weight.shape[-1]
            * math.prod(map(self._taps, range(len(self.strides))))
        )

    def _taps(self, axis: int) -> int:
        """Taps within x along a spatial axis, of all positions together."""
        size, taps = self.x.shape[1 + axis], range(self.weight.shape[1 + axis])
        starts = (p * self.strides[axis] - self.before[axis] for p in range(self.output.shape[1 + axis]))
        return sum(0 <= start + tap * self.dilations[axis] < size for start in starts for tap in taps)

    def reach(self, axis: int) -> tuple[int, int]:
        """The first element that is read along a spatial axis, and the one behind the last."""
        span = self.dilations[axis] * (self.weight.shape[1 + axis] - 1) + 1
        last = (self.output.shape[1 + axis] - 1) * self.strides[axis]
        return -self.before[axis], last + span - self.before[axis]
