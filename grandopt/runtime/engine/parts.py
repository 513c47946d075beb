"""What runs beside the agents of an engine: the collector, the tuner, the monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from grandopt.config.serving import ServingConfig, ServingPart
from grandopt.errors import ConfigError
from grandopt.runtime.adaptation.tuner import AdaptiveTuner, TunerStats
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.stats import AgentStats
from grandopt.runtime.engine.upkeep import Upkeep
from grandopt.runtime.engine.watching import Watching
from grandopt.runtime.memory.collector import CollectorStats
from grandopt.runtime.monitoring.monitor import Monitor, MonitorStats
from grandopt.runtime.monitoring.recommendations.advice import Recommendations, Silence
from grandopt.runtime.scheduling.workers.affinity import usable_cores


class Parts:
    """The parts that a profile has switched on. They belong to the engine's event loop.

    `idle` says whether no request waits or is computed, `ended` how many came to an end until now. `monitor`
    is what watches where monitoring is on; it stays its owner's.
    """

    def __init__(
        self,
        config: ServingConfig,
        idle: Callable[[], bool],
        ended: Callable[[], int],
        monitor: Monitor | None,
    ) -> None:
        self._config = config
        if monitor is not None and not config.monitoring:
            raise ConfigError("a monitor was given, but monitoring is off: initialize with monitoring=True")
        self._upkeep = Upkeep(idle, ended) if config.memory else None
        self._tuner = AdaptiveTuner() if config.adaptation else None
        self._watching = Watching(config.monitor_every_s, monitor) if config.monitoring else None
        for part in (self._upkeep, self._watching):
            if part is not None:
                part.begin()

    @property
    def monitor(self) -> Monitor | None:
        """What watches; None where monitoring is off."""
        return None if self._watching is None else self._watching.monitor

    def serves(self, agent: ServedAgent) -> None:
        """An agent is served from now on, or by another version of it."""
        if self._tuner is not None and agent.batcher is not None:
            self._tuner.add(
                agent.name,
                agent.batcher,
                most_workers=usable_cores(),
                cache=None if agent.front is None else agent.front.cache,
                collector=None if self._upkeep is None else self._upkeep.collector,
            )
        if self._watching is not None:
            self._watching.serves(agent)
        if self._upkeep is not None:
            self._upkeep.loaded()

    def forgets(self, name: str) -> None:
        """An agent is served no longer."""
        if self._tuner is not None:
            self._tuner.remove(name)
        if self._watching is not None:
            self._watching.forgets(name)

    def end(self) -> None:
        """Stop all, and put the process back as it was."""
        if self._tuner is not None:
            self._tuner.close()
        for part in (self._watching, self._upkeep):
            if part is not None:
                part.end()

    def running(self, agents: Mapping[str, AgentStats]) -> tuple[ServingPart, ...]:
        """Those that run, not those that are only switched on."""
        batched = any(stats.batches is not None for stats in agents.values())
        runs: dict[ServingPart, bool] = {
            "cache": any(stats.cache is not None for stats in agents.values()),
            "memory": self._upkeep is not None,
            "batching": batched,
            "adaptation": self._tuner is not None and batched,
            "monitoring": self._watching is not None,
            "pinning": self._config.pinning
            and any(
                stats.batches is not None and stats.batches.workers != "inline" for stats in agents.values()
            ),
        }
        return tuple(part for part in get_args(ServingPart) if runs[part])

    def collector(self) -> CollectorStats | None:
        """What was collected; None where the collector is left alone."""
        return None if self._upkeep is None else self._upkeep.stats()

    def adaptation(self) -> TunerStats | None:
        """What was tuned; None where nothing is."""
        return None if self._tuner is None else self._tuner.stats()

    def monitoring(self) -> MonitorStats | None:
        """What was seen; None where nobody looks."""
        return None if self._watching is None else self._watching.monitor.stats()

    def recommendations(self) -> Recommendations:
        """What to change by the last look; where nobody looks, that."""
        if self._watching is None:
            off = "monitoring is off, and recommendations rest on what it measures: monitoring=True"
            return Recommendations((), (Silence("engine", off),))
        return self._watching.monitor.recommendations()
