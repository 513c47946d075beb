"""What a report says about an agent, in one line of words.

Units follow the size: ns, µs, ms or s for durations; a ratio is shown to the digits that its interval
supports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from grandopt.reporting.figures import Figures, RatioReport
from grandopt.reporting.report import AgentReport


def duration(microseconds: float) -> str:
    """A duration given in µs, with three significant digits and its unit: "52.1 µs", "1.20 ms"."""
    for unit, factor in (("ns", 1e-3), ("µs", 1.0), ("ms", 1e3)):
        text = _three_digits(microseconds / factor)
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{_three_digits(microseconds / 1e6)} s"


def rate(per_second: float) -> str:
    """Calls per second with three significant digits: "950", "18.6k", "1.20M"."""
    for unit, factor in (("", 1.0), ("k", 1e3)):
        text = _three_digits(per_second / factor) if unit else f"{per_second:.0f}"
        if float(text) < 1000:
            return text + unit
    return _three_digits(per_second / 1e6) + "M"


def size(count: float) -> str:
    """A number of bytes with three significant digits, in decimal units: "86.0 kB", "12.5 MB"."""
    for unit, factor in (("B", 1.0), ("kB", 1e3), ("MB", 1e6)):
        text = _three_digits(count / factor) if unit != "B" else f"{count:.0f}"
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{_three_digits(count / 1e9)} GB"


def ratio(speedup: RatioReport) -> str:
    """A speed-up and its interval: "1.9× (1.8–2.0)"."""
    return f"{factor(speedup)} ({interval(speedup)})"


def factor(speedup: RatioReport) -> str:
    """A speed-up without its interval: "1.9×"."""
    return f"{speedup.value:.{_decimals(speedup)}f}×"


def interval(speedup: RatioReport) -> str:
    """The interval of a speed-up: "1.8–2.0"."""
    decimals = _decimals(speedup)
    return f"{speedup.low:.{decimals}f}–{speedup.high:.{decimals}f}"


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
    """What has to be said beside the status: missed targets, and an unstable measurement."""
    misses = agent.targets.misses
    notes = (
        [f"{'target' if len(misses) == 1 else 'targets'} missed: {' and '.join(misses)}"] if misses else []
    )
    if is_unsteady(agent):
        notes.append("measurement unstable")
    return notes


def is_unsteady(agent: AgentReport) -> bool:
    """Whether the speed of the original or of the shipped artifact was not steady while it was measured."""
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


def _three_digits(value: float) -> str:
    if value == 0 or math.isinf(value):
        return f"{value:.0f}"
    value = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 2)}f}"


def _decimals(speedup: RatioReport) -> int:
    """As many decimals as tell the ends of the interval apart, at most 3, and at least 1 below 10."""
    width = speedup.high - speedup.low
    needed = math.ceil(-math.log10(width) - 1e-9) if width > 0 else 2
    return min(3, max(needed, 1 if speedup.value < 10 else 0))
