"""Every figure that has a name: what histories keep and alerts watch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grandopt.runtime.monitoring.metrics import AgentMetrics, Metrics, ProcessMetrics

PROCESS = ""
"""The place of the process's figures among those of agents: no agent is named so."""


@dataclass(frozen=True)
class Measure:
    """A named figure with its unit; of an agent or of the process, None where it cannot be told."""

    name: str
    unit: str
    of_agent: Callable[[AgentMetrics], float | None] | None = None
    of_process: Callable[[ProcessMetrics], float | None] | None = None


def _rate(name: str) -> Callable[[AgentMetrics], float | None]:
    return lambda agent: None if agent.recent is None else agent.per_second(getattr(agent.recent, name))


def _share(name: str) -> Callable[[AgentMetrics], float | None]:
    return lambda agent: None if agent.recent is None else agent.share(getattr(agent.recent, name))


def _latency(name: str) -> Callable[[AgentMetrics], float | None]:
    return lambda agent: getattr(agent.latency, name)


def _nonfinite(agent: AgentMetrics) -> float | None:
    return agent.drift.nonfinite / agent.drift.seen if agent.drift is not None and agent.drift.seen else None


def _shift(agent: AgentMetrics) -> float | None:
    return None if agent.drift is None else agent.drift.largest_shift


def _drifted(agent: AgentMetrics) -> float | None:
    drift = agent.drift
    return None if drift is None or drift.drifted is None else drift.drifted_features


def _close(agent: AgentMetrics) -> float | None:
    return max((item.share for item in agent.margins or () if item.share is not None), default=None)


def _cpu(process: ProcessMetrics) -> float | None:
    return None if process.cores is None else process.cores / process.granted


def _memory(process: ProcessMetrics) -> float | None:
    if process.resident is None or not process.memory_limit:
        return None
    return process.resident / process.memory_limit


def _gpu_memory(process: ProcessMetrics) -> float | None:
    return max(
        (
            item.memory_used / item.memory_total
            for item in process.gpus
            if item.memory_used is not None and item.memory_total
        ),
        default=None,
    )


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("rate", "1/s", _rate("answered")),
        Measure("p50", "s", _latency("p50_s")),
        Measure("p90", "s", _latency("p90_s")),
        Measure("p99", "s", _latency("p99_s")),
        Measure("p99.9", "s", _latency("p999_s")),
        Measure("mean", "s", _latency("mean_s")),
        Measure("depth", "rows", lambda agent: agent.depth),
        Measure("queued", "bytes", lambda agent: agent.queued_bytes),
        Measure("requests_per_batch", "requests", lambda agent: agent.requests_per_batch),
        Measure("busy", "share", lambda agent: agent.busy),
        Measure("failed", "share", _share("failed")),
        Measure("cancelled", "share", _share("cancelled")),
        Measure("missed", "share", _share("missed")),
        Measure("rejected", "share", _share("rejections")),
        Measure("hit_rate", "share", lambda agent: agent.hit_rate),
        Measure("shift", "reference std", _shift),
        Measure("drifted", "elements", _drifted),
        Measure("nonfinite", "share", _nonfinite),
        Measure("close_decisions", "share", _close),
        Measure("cores", "cores", of_process=lambda process: process.cores),
        Measure("cpu", "share", of_process=_cpu),
        Measure("resident", "bytes", of_process=lambda process: process.resident),
        Measure("memory", "share", of_process=_memory),
        Measure(
            "gpu",
            "share",
            of_process=lambda item: max((g.busy for g in item.gpus if g.busy is not None), default=None),
        ),
        Measure("gpu_memory", "share", of_process=_gpu_memory),
    )
}


def values(metrics: Metrics) -> dict[str, dict[str, float]]:
    """All figures that can be told, by agent (PROCESS for the process) and by name."""
    found: dict[str, dict[str, float]] = {PROCESS: {}}
    for name, measure in MEASURES.items():
        if measure.of_process is not None:
            _put(found[PROCESS], name, measure.of_process(metrics.process))
    for agent in metrics.agents.values():
        told = found[agent.agent] = {}
        for name, measure in MEASURES.items():
            if measure.of_agent is not None:
                _put(told, name, measure.of_agent(agent))
    return found


def _put(told: dict[str, float], name: str, value: float | None) -> None:
    if value is not None and not math.isnan(value):
        told[name] = float(value)
