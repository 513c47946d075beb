"""What a report says about an agent, in one line of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grandopt.reporting.admission import SHORTLY
from grandopt.reporting.figures import Figures
from grandopt.reporting.machine_limit import is_wrong
from grandopt.reporting.report import AgentReport
from grandopt.reporting.units import duration, factor, interval, rate, size


def verdict(agent: AgentReport) -> str:
    """What became of an agent, in one line.

    "1.9× faster (1.8–2.0), torchscript float32", "original kept: nothing was faster", "failed: …"; missed
    targets and an unstable measurement are named at the end.
    """
    if agent.status == "optimized" and agent.speedup is not None and agent.shipped is not None:
        gain = f"{factor(agent.speedup)} faster ({interval(agent.speedup)})"
        line = f"{gain}, {agent.shipped.engine} {agent.shipped.precision}"
    elif agent.reason is None:
        line = agent.status
    else:
        line = f"{agent.status}: {agent.reason}"
    return "; ".join([line, *remarks(agent)])


def remarks(agent: AgentReport) -> list[str]:
    """What has to be said beside the status: missed targets, an unstable measurement, what a run before left
    undone, on what evidence a precision below float32 was admitted, and which layers have which."""
    misses = agent.targets.misses
    notes = (
        [f"{'target' if len(misses) == 1 else 'targets'} missed: {' and '.join(misses)}"] if misses else []
    )
    if is_unsteady(agent):
        notes.append("measurement unstable")
    if is_wrong(agent):
        notes.append("faster than the machine's limit, which is therefore wrong")
    if agent.continued:
        notes.append(went_on(agent.continued))
    if agent.evidence is not None and agent.shipped is not None and agent.shipped.precision != "float32":
        notes.append(f"{agent.shipped.precision} admitted on {SHORTLY[agent.evidence.kind]}")
    layers = {} if agent.shipped is None else agent.shipped.options.get("layers", {})
    if layers:
        notes.append(", ".join(f"{precision} in {_layers(names)}" for precision, names in layers.items()))
    return notes


def _layers(names: Sequence[str]) -> str:
    """The layers of one precision: by name where they are few."""
    few = 0 < len(names) <= 2
    return f"{len(names)} layer{'s' * (len(names) != 1)}" + (f" ({' and '.join(names)})" if few else "")


def went_on(count: int) -> str:
    """That a run did what the one before it left undone."""
    return f"went on with {count} candidate{'s' * (count > 1)} that the run before had no time for"


def left_out(agent: AgentReport) -> list[str]:
    """One line for each file or key with normalisation statistics that the agent was made without."""
    return [f"{item.place} ({item.kind}): {item.reason}" for item in agent.statistics if not item.used]


def is_unsteady(agent: AgentReport) -> bool:
    """Whether the median of the original or of the shipped artifact, or the speed-up, is not told to within
    10 % (in earlier reports: whether the speed still changed at the end)."""
    measured = [agent.original, agent.shipped.figures if agent.shipped is not None else None]
    return any(figures is not None and figures.stable is False for figures in measured)


def target_misses(
    figures: Figures, latency_ms: float | None, throughput: float | None, memory_mb: float | None = None
) -> tuple[str, ...]:
    """One line for each target that the figures miss: median latency, calls per second, resident memory.

    A target whose figure was not measured is reported as missed, with that reason.
    """
    misses = []
    if latency_ms is not None and figures.p50_us > latency_ms * 1e3:
        misses.append(f"p50 {duration(figures.p50_us)}, wanted {duration(latency_ms * 1e3)}")
    if throughput is not None and figures.qps is None:
        misses.append(f"throughput not measured, wanted {rate(throughput)}/s")
    elif throughput is not None and figures.qps is not None and figures.qps < throughput:
        misses.append(f"throughput {rate(figures.qps)}/s, wanted {rate(throughput)}/s")
    if memory_mb is not None and figures.resident_mb is None:
        misses.append(f"memory not measured, wanted at most {size(memory_mb * 1e6)}")
    elif memory_mb is not None and figures.resident_mb is not None and figures.resident_mb > memory_mb:
        misses.append(f"memory {size(figures.resident_mb * 1e6)}, wanted at most {size(memory_mb * 1e6)}")
    return tuple(misses)


def counts(agents: Iterable[AgentReport]) -> str:
    """How many agents ended how: "6 optimized, 1 original kept, 1 failed"."""
    statuses = [agent.status for agent in agents]
    named = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    return ", ".join(named) or "no agents"
