"""How much there is to do in one call of an agent, and the least time this machine could do it in."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.compiler import build
from grandopt.compiler.program import Program
from grandopt.measurement.limit import MachineLimit


@dataclass(frozen=True)
class Work:
    """Parameters, the bytes of the weights, and the floating-point operations of one call, where counted."""

    parameters: int
    weight_bytes: int
    flop: int | None

    def limit_us(self, limit: MachineLimit) -> float:
        """The machine's limit in µs: reading the weights, or the arithmetic, whichever takes longer."""
        return limit.limit_us(self.weight_bytes, self.flop or 0)


def work(program: Program) -> Work:
    """Count the work of one call at batch 1."""
    parameters, weight_bytes = build.parameters(program.module)
    return Work(parameters, weight_bytes, build.flop(program))
