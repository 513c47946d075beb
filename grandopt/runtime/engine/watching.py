"""The monitor of an engine and what it is shown of each agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.errors import ArtifactError
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.version import Version
from grandopt.runtime.memory.ticker import Ticker
from grandopt.runtime.monitoring.drift import InputDrift
from grandopt.runtime.monitoring.margins import CloseDecisions
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.monitoring.reference import Reference
from grandopt.runtime.monitoring.sources import AgentSource
from grandopt.runtime.monitoring.tap import Tap
from grandopt.runtime.scheduling.taps import Watcher

WINDOW = 10
"""Looks that rates and percentiles are taken over."""


class Watching:
    """Looks at all agents from time to time, on a thread of its own, until `end`."""

    def __init__(self, every_s: float, monitor: Monitor | None) -> None:
        self._owned = monitor is None
        self.monitor = monitor or Monitor(MonitorSettings(interval_s=every_s, window_s=WINDOW * every_s))
        self._ticker: Ticker | None = None
        self._taps: dict[str, tuple[ServedAgent, Watcher]] = {}

    def begin(self) -> None:
        """Look from now on."""
        self._ticker = self.monitor.watching().__enter__()

    def serves(self, agent: ServedAgent) -> None:
        """Look at an agent with batches, and at its inputs and decisions, from now on."""
        self.forgets(agent.name)
        batcher, taps, version = agent.batcher, agent.taps, agent.version
        if batcher is None or taps is None:
            return
        evidence = _evidence(version)
        tap, front = Tap(), agent.front
        watcher = taps.add(tap)

        def tap_every(batches: int) -> None:
            watcher.every = batches

        self._taps[agent.name] = agent, watcher
        self.monitor.watch(
            AgentSource(
                agent.name,
                batcher.stats,
                cost=lambda: batcher.cost,
                original=lambda: agent.original(),
                cache=None if front is None else front.stats,
                tap=tap,
                tap_every=tap_every,
                drift=InputDrift(
                    version.signature, version.contract, Reference.of_evidence(evidence, version.signature)
                ),
                margins=CloseDecisions(version.signature, version.contract, evidence),
            )
        )

    def forgets(self, name: str) -> None:
        """Look at an agent no more."""
        self.monitor.forget(name)
        agent, watcher = self._taps.pop(name, (None, None))
        if agent is not None and agent.taps is not None and watcher is not None:
            agent.taps.remove(watcher)

    def end(self) -> None:
        """Look no more; a monitor that was given stays open."""
        if self._ticker is not None:
            self._ticker.__exit__(None, None, None)
            self._ticker = None
        if self._owned:
            self.monitor.close()


def _evidence(version: Version) -> Mapping[str, Any]:
    """What the artifact says of how its inputs and decisions usually are; nothing where there is none."""
    origin = version.origin
    if origin.path is None:
        return {}
    try:
        manifest = read(origin.path).manifest
    except ArtifactError:  # removed or damaged since it was loaded
        return {}
    return manifest.evidence if manifest.digest == origin.digest else {}  # else a newer build is there
