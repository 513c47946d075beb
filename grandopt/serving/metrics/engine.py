"""Figures of the engine under grandopt's own names, in seconds and bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from grandopt.runtime.engine.stats import AgentStats, EngineStats
from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters, Metrics
from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.serving.metrics.families import Family, Kind, family

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

KINDS: dict[str, Kind] = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


def engine_families(stats: EngineStats, process: ProcessReader, version: str) -> list[Family]:
    """All `grandopt_*` families: counts as they are now, and what only a monitor sees from its last look.

    `process` is asked only where nobody monitors; `version` is the server's.
    """
    # Takes 5 MB and 50 ms, for nothing in a server that nobody scrapes.
    from grandopt.runtime.monitoring.exposition import families

    monitoring = stats.monitoring
    metrics = _metrics(stats, process)
    found = [_plain(one) for one in families(metrics, () if monitoring is None else monitoring.alerts)]
    return [*_server(stats, version), *_agents(stats.agents.values()), *found]


def _metrics(stats: EngineStats, process: ProcessReader) -> Metrics:
    last = None if stats.monitoring is None else stats.monitoring.last
    seen = {} if last is None else last.agents
    agents = {
        name: _agent_metrics(agent, seen.get(name) or _unseen(name)) for name, agent in stats.agents.items()
    }
    if last is None:
        return Metrics(stats.seconds, 0.0, agents, process.read(stats.seconds))
    return replace(last, agents=agents)


def _unseen(name: str) -> AgentMetrics:
    return AgentMetrics(name, Counters(), None, 0.0, 0, 0)


def _agent_metrics(agent: AgentStats, seen: AgentMetrics) -> AgentMetrics:
    """What a monitor saw, with the counts of now."""
    batches = agent.batches
    now = replace(seen, total=Counters.of(batches, agent.direct, agent.cache), cache=agent.cache)
    if batches is None:
        return now
    return replace(
        now,
        depth=batches.depth,
        queued_bytes=batches.queued_bytes,
        settings=batches.settings,
        workers=batches.workers,
        concurrency=batches.concurrency,
    )


def _server(stats: EngineStats, version: str) -> list[Family]:
    info = family("grandopt_server_info", "gauge", "1, with the version and the profile of the server.")
    info.add([("version", version), ("profile", stats.profile)], 1)
    uptime = family("grandopt_server_uptime_seconds", "gauge", "Since the engine began.")
    uptime.add([], stats.seconds)
    return [info, uptime]


def _agents(agents: Iterable[AgentStats]) -> list[Family]:
    info = family("grandopt_agent_info", "gauge", "1, with what answers for an agent.")
    replaced = family("grandopt_agent_replacements_total", "counter", "Times another version took over.")
    sessions = family("grandopt_sessions_open", "gauge", "Sessions of recurrent agents that are open.")
    for agent in agents:
        origin = agent.answering
        info.add([("agent", agent.name), ("engine", origin.engine), ("digest", origin.digest[:12])], 1)
        replaced.add([("agent", agent.name)], agent.replaced)
        if agent.sessions is not None:
            sessions.add([("agent", agent.name)], agent.sessions.open)
    return [info, replaced, sessions]


def _plain(metric: Metric) -> Family:
    """A family as the client library has it, with what its text would say."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    found = family(name, KINDS[metric.type], metric.documentation)
    for sample in metric.samples:
        found.add(sample.labels.items(), sample.value, sample.name.removeprefix(name))
    return found
