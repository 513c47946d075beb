"""The monitor of an engine and what it is shown of each agent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.errors import ArtifactError
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.version import Version
from grandopt.runtime.memory.ticker import Ticker
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.monitoring.sources import AgentSource, Looks
from grandopt.runtime.scheduling.taps import Taps, Watcher

WINDOW = 10
"""Looks that rates and percentiles are taken over."""


class Watching:
    """Looks at all agents from time to time, on a thread of its own, until `end`."""

    def __init__(self, every_s: float, monitor: Monitor | None) -> None:
        self._owned = monitor is None
        self.monitor = monitor or Monitor(MonitorSettings(interval_s=every_s, window_s=WINDOW * every_s))
        self._ticker: Ticker | None = None
        self._taps: dict[str, tuple[Taps, Watcher]] = {}
        self._names: set[str] = set()

    def begin(self) -> None:
        """Look from now on."""
        self._ticker = self.monitor.watching().__enter__()

    def serves(self, agent: ServedAgent) -> None:
        """Look at an agent, and closely at some of the rows of its batches, from now on."""
        self.forgets(agent.name)
        self._names.add(agent.name)
        batcher, taps, front, version = agent.batcher, agent.taps, agent.front, agent.version
        looks = watcher = None
        if taps is not None:
            looks = Looks.at(version.signature, version.contract, _evidence(version))
            watcher = self._taps[agent.name] = taps, taps.add(looks.tap)
        self.monitor.watch(
            AgentSource(
                agent.name,
                batches=None if batcher is None else batcher.stats,
                direct=agent.direct.stats,
                cost=None if batcher is None else lambda: batcher.cost,
                original=lambda: agent.original(),
                cache=None if front is None else front.stats,
                looks=looks,
                tap_every=None if watcher is None else partial(setattr, watcher[1], "every"),
            )
        )

    def forgets(self, name: str) -> None:
        """Look at an agent no more."""
        self.monitor.forget(name)
        self._names.discard(name)
        if name in self._taps:
            taps, watcher = self._taps.pop(name)
            taps.remove(watcher)

    def end(self) -> None:
        """Look no more; a monitor that was given stays open."""
        if self._ticker is not None:
            self._ticker.__exit__(None, None, None)
            self._ticker = None
        for name in list(self._names):
            self.forgets(name)
        if self._owned:
            self.monitor.close()


def _evidence(version: Version) -> Mapping[str, Any]:
    """What the artifact says of how its inputs and decisions usually are; nothing where there is none."""
    origin = version.origin
    if origin.path is None:
        return {}
    try:
        manifest = read(origin.path, origin.keys).manifest
    except ArtifactError:  # removed or damaged since it was loaded
        return {}
    return manifest.evidence if manifest.digest == origin.digest else {}  # else a newer build is there
