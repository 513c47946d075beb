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
    """

    parameters: int
    weight_bytes: int
    flop: int | None
    read_weights: int
    read_bytes: int
    least_flop: int | None = None

    def left_by(self, builds: Iterable[BuiltCandidate]) -> Workload:
        """The same with what is left of it in the builds that say so."""
        options = [built.artifact.manifest.options for built in builds if built.artifact is not None]
        left = [2 * count for given in options if isinstance(count := given.get("multiply_adds"), int)]
        return replace(self, least_flop=min(left, default=None))

    def limit(self, machine: MachineLimit, precision: str, threads: int = 1) -> AgentLimit:
        """The least that a call can take at this precision on so many threads."""
        flop = self.flop or 0
        needed = flop if self.least_flop is None else min(flop, self.least_flop)
        return machine.agent(self.read_weights, self.read_bytes, needed, precision, threads)

    def limits(self, machine: MachineLimit) -> tuple[LimitReport, ...]:
        """The same at each precision of all weights, on one thread."""
        whole = [precision for precision in PRECISIONS if precision != "mixed"]
        return tuple(LimitReport(**asdict(self.limit(machine, precision))) for precision in whole)


def work(program: Program) -> Workload:
    """Count the work of one call at batch 1."""
    parameters, weight_bytes = build.parameters(program.module)
    return Workload(parameters, weight_bytes, build.flop(program), *build.read_weights(program))
