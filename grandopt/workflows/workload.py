"""How much work an agent is, and the least time that this machine takes for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from grandopt.compiler import build
from grandopt.compiler.program import Program
from grandopt.config.engine import PRECISIONS
from grandopt.measurement.limit import AgentLimit, MachineLimit
from grandopt.reporting.figures import LimitReport
from grandopt.workflows.building.built import BuiltCandidate


@dataclass(frozen=True)
class Workload:
    """Parameters, the bytes of the weights, and the floating-point operations of one call, where counted.

    `read_weights`, which take `read_bytes`, are those of the parameters that every call reads. `least_flop`
    is what the build with the fewest operations does: it may leave out what no output depends on.
    `spared_weights` are those that a build need not read in every call: of units that a ReLU made zero.
    """

    parameters: int
    weight_bytes: int
    flop: int | None
    read_weights: int
    read_bytes: int
    least_flop: int | None = None
    spared_weights: int = 0

    def left_by(self, builds: Iterable[BuiltCandidate]) -> Workload:
        """The same with what is left of it in the builds that say so."""
        options = [built.artifact.manifest.options for built in builds if built.artifact is not None]
        left = [2 * count for given in options if isinstance(count := given.get("multiply_adds"), int)]
        spared = [count for given in options if isinstance(count := given.get("spared_weights"), int)]
        return replace(self, least_flop=min(left, default=None), spared_weights=max(spared, default=0))

    def limit(self, machine: MachineLimit, precision: str, threads: int = 1) -> AgentLimit:
        """The least that a call can take at this precision on so many threads."""
        flop = self.flop or 0
        needed = flop if self.least_flop is None else min(flop, self.least_flop)
        weights = max(0, self.read_weights - self.spared_weights)
        read = self.read_bytes * weights // max(1, self.read_weights)
        return machine.agent(weights, read, max(0, needed - 2 * self.spared_weights), precision, threads)

    def limits(self, machine: MachineLimit) -> tuple[LimitReport, ...]:
        """The same at each precision of all weights, on one thread."""
        whole = [precision for precision in PRECISIONS if precision != "mixed"]
        return tuple(LimitReport(**asdict(self.limit(machine, precision))) for precision in whole)


def work(program: Program) -> Workload:
    """Count the work of one call at batch 1."""
    parameters, weight_bytes = build.parameters(program.module)
    return Workload(parameters, weight_bytes, build.flop(program), *build.read_weights(program))
